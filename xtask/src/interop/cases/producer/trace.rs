//! The message trace, read by Java's tool.

use std::time::Duration;

use rocketry::{Client, Decision, Message, MessageExt, ProducerConfig, SendResult, TraceConfig};
use serde_json::{Value, json};

use super::{dump, mqadmin_prints, on, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &[Target::Apache], "trace", |w, t| {
        Box::pin(trace(w, t))
    });
    cases
}

/// P-132: `mqadmin queryMsgTraceById` prints the record of a message, and Java's decoder reads from the trace topic all that the records of
/// a message and of the end of a transaction say.
async fn trace(world: &mut World, target: Target) -> Result {
    const TRACES: &str = "RMQ_SYS_TRACE_TOPIC";
    let ns = world.namesrv(target).await?;
    let client = Client::connect(&*ns).await?;
    let config = ProducerConfig {
        trace: Some(TraceConfig::default()),
        ..ProducerConfig::default()
    };
    let producer = client
        .producer("traced")
        .config(config)
        .transaction_checker(|_half: MessageExt| Decision::Unknown)
        .await?;
    let message = Message::new("p132", "traced").tag("t").keys(["k1", "k2"]);
    let plain = producer.send(message).await?;
    let message = Message::new("p132", "committed");
    let committed = producer.send_in_transaction(message, |_half| Decision::Commit);
    let committed = committed.await?.sent;
    // Nothing waits for the flush interval: what is queued leaves when the producer does.
    client.shutdown(Duration::from_secs(3)).await;

    let args = format!("queryMsgTraceById -n {ns} -i {}", plain.msg_id);
    mqadmin_prints(world, &args, &["Pub", "traced", "127.0.0.1", "success"]).await?;

    let mut records = Vec::new();
    // Two messages and the end of a transaction, in as many trace messages as they were gathered to.
    for message in dump(world, target, TRACES, 1000, Duration::ZERO).await? {
        let body = [("body", message.text("body_base64"))];
        let decoded = world.driver()?.ask("trace", &body).await?;
        let decoded: Vec<Value> = serde_json::from_str(&decoded)?;
        records.extend(decoded);
    }
    let of = |result: &SendResult, kind: &str| {
        let text = |record: &Value, name: &str| record.get(name)?.as_str().map(str::to_owned);
        records
            .iter()
            .find(|record| {
                text(record, "msg_id").as_ref() == Some(&result.msg_id)
                    && text(record, "type").is_some_and(|found| found == kind)
            })
            .cloned()
            .ok_or_else(|| format!("no {kind} record of {} in {records:?}", result.msg_id))
    };
    let record = of(&plain, "Pub")?;
    let expected = json!({
        "region": "DefaultRegion", "group": "traced", "success": true, "topic": "p132", "tags": "t",
        "keys": "k1 k2", "offset_msg_id": plain.offset_msg_id, "body_bytes": 6, "msg_type": "Normal_Msg",
    });
    holds(&record, &expected)?;
    let expected = json!({ "msg_type": "Trans_Msg_Half", "body_bytes": 9, "success": true });
    holds(&of(&committed, "Pub")?, &expected)?;
    let expected = json!({
        "group": "traced", "success": true, "topic": "p132", "msg_type": "Trans_msg_Commit",
        "transaction_state": "COMMIT_MESSAGE", "from_check": false,
    });
    holds(&of(&committed, "EndTransaction")?, &expected)
}

/// Fails unless `record` has every field of `expected`.
fn holds(record: &Value, expected: &Value) -> Result {
    for (name, value) in expected.as_object().into_iter().flatten() {
        same(name, &Some(value), &record.get(name))
            .map_err(|error| format!("{error} in {record}"))?;
    }
    Ok(())
}
