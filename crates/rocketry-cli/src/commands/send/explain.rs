//! `--explain`: every stage of a send as a line for people and as a value for programs.

use std::sync::Arc;

use parking_lot::Mutex;
use rocketry::{
    AttemptOutcome, AvoidedBecause, BodyForm, Compression, QueueChoice, RouteOrigin, SendEvent,
    SendObserver, SendStage,
};
use serde_json::{Value, json};

use crate::units::ms;

/// What a send went through since it was last asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Explanation(Arc<Mutex<Stages>>);

/// The stages of one send, in order.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// One line each.
    pub(super) lines: Vec<String>,
    /// The same, one object each.
    pub(super) values: Vec<Value>,
}

impl Explanation {
    /// The stages so far; the next ones are another send's.
    pub(super) fn take(&self) -> Stages {
        std::mem::take(&mut self.0.lock())
    }
}

impl SendObserver for Explanation {
    fn event(&self, event: &SendEvent<'_>) {
        let mut stages = self.0.lock();
        stages.lines.push(event.to_string());
        stages.values.push(value(event));
    }
}

fn value(event: &SendEvent<'_>) -> Value {
    let mut value = match &event.stage {
        SendStage::Began {
            mode,
            topic,
            messages,
            body_bytes,
            budget,
        } => json!({
            "stage": "begin", "mode": mode.to_string(), "topic": topic, "messages": messages,
            "body_bytes": body_bytes, "budget_ms": ms(*budget),
        }),
        SendStage::Prepared { msg_id } => json!({ "stage": "id", "msg_id": msg_id }),
        SendStage::Body(BodyForm::Compressed {
            codec,
            from_bytes,
            to_bytes,
        }) => json!({
            "stage": "body", "codec": name(*codec), "from_bytes": from_bytes, "bytes": to_bytes,
        }),
        SendStage::Body(form) => {
            json!({ "stage": "body", "codec": Value::Null, "reason": form.to_string() })
        }
        SendStage::Routed {
            source,
            queues,
            brokers,
            creates_topic,
        } => {
            let (from, age, name_server) = match source {
                RouteOrigin::Cache(age) => ("cache", Some(ms(*age)), None),
                RouteOrigin::NameServer(address) => ("name_server", None, Some(*address)),
                _ => ("other", None, None),
            };
            json!({
                "stage": "route", "source": from, "age_ms": age, "name_server": name_server,
                "queues": queues, "brokers": brokers, "creates_topic": creates_topic,
            })
        }
        SendStage::QueueChosen {
            queue,
            choice,
            avoided,
        } => {
            let avoided: Vec<_> = avoided
                .iter()
                .map(|avoided| {
                    let because = match avoided.because {
                        AvoidedBecause::FailedLast => "failed_last",
                        AvoidedBecause::Silent => "silent",
                        AvoidedBecause::Isolated(_) => "isolated",
                        _ => "other",
                    };
                    json!({ "broker": &*avoided.broker, "because": because })
                })
                .collect();
            json!({
                "stage": "queue", "broker": &*queue.broker_name, "queue_id": queue.queue_id,
                "choice": choice_name(*choice), "avoided": avoided,
            })
        }
        SendStage::AttemptBegan {
            attempt,
            broker,
            address,
            budget,
        } => json!({
            "stage": "attempt", "attempt": attempt, "broker": broker, "address": address,
            "budget_ms": ms(*budget),
        }),
        SendStage::Encoded { code, frame_bytes } => {
            json!({ "stage": "request", "code": code.0, "frame_bytes": frame_bytes })
        }
        SendStage::AttemptEnded { attempt, outcome } => answer(*attempt, outcome),
        SendStage::Brokers { silent, isolated } => {
            let silent: Vec<&str> = silent.iter().map(|broker| &**broker).collect();
            let isolated: Vec<_> = isolated
                .iter()
                .map(|(broker, left)| json!({ "broker": &**broker, "left_ms": ms(*left) }))
                .collect();
            json!({ "stage": "brokers", "silent": silent, "isolated": isolated })
        }
        SendStage::Ended(Ok(result)) => {
            let status = result.map_or("ONEWAY", |result| result.status.as_str());
            json!({ "stage": "end", "status": status })
        }
        SendStage::Ended(Err(error)) => json!({ "stage": "end", "error": error.to_string() }),
        other => json!({ "stage": "other", "text": other.to_string() }),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("at_ms".to_owned(), ms(event.at).into());
        fields.insert("took_ms".to_owned(), ms(event.took).into());
    }
    value
}

fn answer(attempt: u32, outcome: &AttemptOutcome<'_>) -> Value {
    let mut value = match outcome {
        AttemptOutcome::Handed => json!({ "status": "ONEWAY" }),
        AttemptOutcome::Stored {
            status,
            queue_id,
            queue_offset,
        } => json!({
            "status": status.as_str(), "queue_id": queue_id, "queue_offset": queue_offset,
        }),
        AttemptOutcome::Refused { code, remark } => json!({ "code": code.0, "remark": remark }),
        AttemptOutcome::Lost { phase, reason } => {
            json!({ "lost_in": phase.to_string(), "reason": reason })
        }
        other => json!({ "text": other.to_string() }),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("stage".to_owned(), "answer".into());
        fields.insert("attempt".to_owned(), attempt.into());
    }
    value
}

fn choice_name(choice: QueueChoice) -> &'static str {
    match choice {
        QueueChoice::RoundRobin => "round_robin",
        QueueChoice::Caller => "caller",
        QueueChoice::Selector => "selector",
        QueueChoice::StrictShard => "strict_shard",
        _ => "other",
    }
}

/// The name of the command line.
fn name(codec: Compression) -> String {
    format!("{codec:?}").to_lowercase()
}
