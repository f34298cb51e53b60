//! Java's and Go's consumers at home on our server: one run of all of them, with a consumer of each shared group killed in the middle, and a
//! case for each thing that it has to show.

mod taken;
mod traffic;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Case;
use crate::interop::world::{Target, World};
use crate::{Result, output};
use taken::{Delivery, complete, in_order};
use traffic::{DUE, FEW, HALF, ORDERED_QUEUES, SHARED_QUEUES, Traffic};

/// A busy machine may be late, never early: a timed message may come up to a slot of the timer, one second, before its time.
const LATE: i64 = 10_000;
const EARLY: i64 = 1_000;
const SOON: Duration = Duration::from_secs(20);

/// Looks at what a run left.
type Check = fn(&Traffic) -> Result;

/// The run, or why there is none, for the cases after the first.
type Shared = Rc<RefCell<Option<std::result::Result<Rc<Traffic>, String>>>>;

pub(super) fn cases() -> Vec<Case> {
    let shared = Shared::default();
    let checks: [(&str, Check); 10] = [
        ("clients/java-push/shares-and-takes-over", shares),
        ("clients/java-orderly/keeps-order-over-a-kill", ordered),
        ("clients/java-pop/shares-and-takes-over", popped),
        ("clients/java-push/broadcasting", broadcasting),
        ("clients/java-push/retry-to-dlq", dead),
        ("clients/java-push/delays", timed),
        ("clients/java-push/filters", filtered),
        ("clients/java-transactions", decided),
        ("clients/java-request-reply", answered),
        ("clients/go-push/shares-and-takes-over", go),
    ];
    let mut cases: Vec<_> = checks
        .into_iter()
        .map(|(name, check)| {
            let shared = Rc::clone(&shared);
            Case::new(name, move |world| {
                let shared = Rc::clone(&shared);
                Box::pin(async move { check(&*traffic(world, &shared).await?) })
            })
        })
        .collect();
    cases.push(Case::new("clients/java-trace", move |world| {
        let shared = Rc::clone(&shared);
        Box::pin(async move {
            let traffic = traffic(world, &shared).await?;
            traced(world, &traffic).await
        })
    }));
    cases
}

async fn traffic(world: &mut World, shared: &Shared) -> Result<Rc<Traffic>> {
    if shared.borrow().is_none() {
        let run = traffic::run(world).await;
        *shared.borrow_mut() = Some(run.map(Rc::new).map_err(|error| error.to_string()));
    }
    match &*shared.borrow() {
        Some(Ok(traffic)) => Ok(Rc::clone(traffic)),
        Some(Err(error)) => Err(error.clone().into()),
        None => Err("no run".into()),
    }
}

impl Traffic {
    fn of(&self, ids: &[&str]) -> Vec<Delivery> {
        ids.iter()
            .filter_map(|id| self.taken.get(id))
            .flatten()
            .cloned()
            .collect()
    }

    fn all_of(&self, group: &str) -> Result {
        let ids = [format!("{group}-1"), format!("{group}-2")];
        let ids = [ids[0].as_str(), ids[1].as_str()];
        for id in ids {
            if self.of(&[id]).is_empty() {
                return Err(format!("{id} was given nothing").into());
            }
        }
        let taken = self.of(&ids);
        complete(group, &taken, "early", HALF)?;
        complete(group, &taken, "late", HALF)
    }

    fn took_over(&self, group: &str) -> Result<f64> {
        let after = self.took_over.get(group).ok_or_else(|| {
            format!("{group}: the queues of the killed consumer stay without one")
        })?;
        Ok(after.as_secs_f64())
    }
}

/// S-061: two consumers of a group hold half of the queues each; when one is killed the other is told and takes them all, and
/// every message is delivered.
fn shares(traffic: &Traffic) -> Result {
    traffic.all_of("shared")?;
    let after = traffic.took_over("shared")?;
    output::line(format_args!(
        "  took over {SHARED_QUEUES} queues {after:.1} s after the kill"
    ));
    Ok(())
}

/// S-063: the messages of a key are delivered in their order, to one consumer and then, when that is killed and its locks have ended, to the
/// other, from the offset committed last.
fn ordered(traffic: &Traffic) -> Result {
    traffic.all_of("ordered")?;
    for id in ["ordered-1", "ordered-2"] {
        in_order(id, &traffic.of(&[id]))?;
    }
    // The new owner of a queue begins where the old one had committed: at or before the end of what that was given.
    let before = traffic.of(&["ordered-1"]);
    let after = traffic.of(&["ordered-2"]);
    for queue in 0..i32::try_from(ORDERED_QUEUES)? {
        let last = before
            .iter()
            .filter(|d| d.queue_id == queue)
            .map(|d| d.queue_offset)
            .max();
        let first = after
            .iter()
            .find(|d| d.queue_id == queue)
            .map(|d| d.queue_offset);
        if let (Some(last), Some(first)) = (last, first)
            && first > last + 1
        {
            return Err(format!(
                "queue {queue}: after offset {last} the other consumer began at {first}"
            )
            .into());
        }
    }
    let after = traffic.took_over("ordered")?;
    output::line(format_args!(
        "  took over {ORDERED_QUEUES} locked queues {after:.1} s after the kill"
    ));
    Ok(())
}

/// S-080, S-087: in POP mode two consumers take the messages of a group between them, and what a killed one had taken comes again.
fn popped(traffic: &Traffic) -> Result {
    traffic.all_of("popped")
}

/// Each of two broadcasting consumers is given everything.
fn broadcasting(traffic: &Traffic) -> Result {
    for id in ["all-1", "all-2"] {
        complete(id, &traffic.of(&[id]), "all", FEW)?;
    }
    Ok(())
}

/// S-036, S-037: a message that fails is delivered again twice, counted, and then lies in the group's dead-letter queue.
fn dead(traffic: &Traffic) -> Result {
    let tried: Vec<_> = traffic
        .of(&["failing"])
        .iter()
        .map(|d| d.reconsumed)
        .collect();
    if tried != [0, 1, 2] {
        return Err(
            format!("deliveries of a message that fails, by reconsumed times: {tried:?}").into(),
        );
    }
    match &traffic.of(&["dead"])[..] {
        [dead] if dead.body == "hopeless" => Ok(()),
        other => Err(format!("in the dead-letter queue: {other:?}").into()),
    }
}

/// S-089, S-092: messages of delay levels and of times arrive when they are due.
fn timed(traffic: &Traffic) -> Result {
    let taken = traffic.of(&["timed"]);
    let mut late = Vec::new();
    for (body, due) in DUE {
        let [one] = &taken.iter().filter(|d| d.body == body).collect::<Vec<_>>()[..] else {
            return Err(format!("{body} was not delivered once: {taken:?}").into());
        };
        late.push((body, one.arrival_ms - one.born_ms - due));
    }
    output::line(format_args!("  later than due, ms: {late:?}"));
    if late.iter().any(|(_, ms)| !(-EARLY..=LATE).contains(ms)) {
        return Err(format!("later than due, ms: {late:?}").into());
    }
    Ok(())
}

/// S-054, S-055: a consumer with tags and one with an SQL92 condition are given what they asked for, and nothing else.
fn filtered(traffic: &Traffic) -> Result {
    let bodies = |id| {
        traffic
            .of(&[id])
            .into_iter()
            .map(|d| d.body)
            .collect::<BTreeSet<_>>()
    };
    let numbers = |numbers: &[usize]| {
        numbers
            .iter()
            .map(|n| format!("filtered-{n}"))
            .collect::<BTreeSet<_>>()
    };
    // red, green, blue in turn
    for (id, expected) in [
        ("tagged", numbers(&[0, 2, 3, 5, 6, 8, 9])),
        ("selected", numbers(&[0, 3, 4, 5, 6, 9])),
    ] {
        if bodies(id) != expected {
            return Err(format!("{id}: {:?} instead of {expected:?}", bodies(id)).into());
        }
    }
    Ok(())
}

/// S-041, S-042, S-045: a commit is delivered, a rollback never, and of an undecided half message the broker asks the producer.
fn decided(traffic: &Traffic) -> Result {
    let bodies: BTreeSet<_> = traffic
        .of(&["decided"])
        .into_iter()
        .map(|d| d.body)
        .collect();
    let expected = BTreeSet::from(["COMMIT_MESSAGE".to_owned(), "UNKNOW".to_owned()]);
    if bodies != expected || traffic.checked.trim() != "UNKNOW" {
        return Err(format!("delivered {bodies:?}, asked about {:?}", traffic.checked).into());
    }
    Ok(())
}

/// S-078: a request of Java's producer is answered by a consumer of Java's, through the broker.
fn answered(traffic: &Traffic) -> Result {
    let reply: Value = serde_json::from_str(&traffic.reply)?;
    let body = reply
        .get("body_base64")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let body = STANDARD.decode(body).map_err(|error| error.to_string())?;
    if body == b"what? answered by Java" {
        return Ok(());
    }
    Err(format!("the reply is {reply}").into())
}

/// Go's push consumers share queues, one takes over what the killed one had, and what failed comes again once.
fn go(traffic: &Traffic) -> Result {
    traffic.all_of("go")?;
    let again = traffic
        .of(&["go-1", "go-2"])
        .iter()
        .filter(|d| d.reconsumed == 1)
        .count();
    if again < HALF {
        return Err(format!("{again} of at least {HALF} failed deliveries came again").into());
    }
    Ok(())
}

/// The trace of a message's producer and consumer is stored: mqadmin prints both, and Java's decoder reads them from the topic.
async fn traced(world: &mut World, traffic: &Traffic) -> Result {
    let id = traffic.ids.get("traced").ok_or("nothing was traced")?;
    let ns = &traffic.ns;
    let end = Instant::now() + SOON;
    loop {
        let printed = world
            .driver()?
            .admin(&format!("queryMsgTraceById -n {ns} -i {id}"))
            .await?;
        let missing = ["Pub", "Sub", "live-traced", "success"]
            .into_iter()
            .find(|text| !printed.contains(text));
        match missing {
            None => break,
            Some(text) if Instant::now() > end => {
                return Err(
                    format!("queryMsgTraceById does not print `{text}` but:\n{printed}").into(),
                );
            }
            Some(_) => sleep(Duration::from_millis(500)).await,
        }
    }
    let mut kinds = BTreeSet::new();
    let namesrv = world.namesrv(Target::Ours).await?;
    let messages = world
        .driver()?
        .dump(&namesrv, "RMQ_SYS_TRACE_TOPIC", 1000, Duration::ZERO)
        .await?;
    for message in messages {
        let decoded = world
            .driver()?
            .ask("trace", &[("body", message.text("body_base64"))])
            .await?;
        let records: Vec<Value> = serde_json::from_str(&decoded)?;
        for record in records {
            if record.get("msg_id").and_then(Value::as_str) == Some(id) {
                kinds.insert(
                    record
                        .get("type")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
    }
    let expected = ["Pub", "SubBefore", "SubAfter"].map(str::to_owned);
    if kinds == BTreeSet::from(expected) {
        return Ok(());
    }
    Err(format!("records of {id}: {kinds:?}").into())
}
