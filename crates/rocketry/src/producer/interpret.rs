//! What an attempt came to. Java: `MQClientAPIImpl.processSendResponse`.

use std::sync::Arc;

use std::borrow::Cow;

use rocketry_protocol::{MessageQueue, RemotingCommand, ResponseCode, header::SendMessageReply};
use rocketry_remoting as remoting;

use super::{
    fault::Observation,
    prepare::Prepared,
    result::{SendResult, SendStatus},
};
use crate::error::{ErrorKind, Phase};

/// What an attempt came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Handed to the connection; nothing more is known of a one-way send.
    Handed,
    /// Stored as configured.
    Stored(SendResult),
    /// Stored by the master, without the durability that was asked for.
    NotDurable(SendResult),
    /// The broker answered with an error.
    Refused {
        code: ResponseCode,
        remark: Option<String>,
    },
    /// There is no answer that says anything.
    Lost(Loss),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) kind: ErrorKind,
    pub(crate) phase: Phase,
    pub(crate) maybe_stored: bool,
    pub(crate) reason: String,
    /// What to do about it, if the transport knows better than the kind of the loss tells.
    pub(crate) hint: Option<&'static str>,
    pub(crate) source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Loss {
    /// The broker has no known master.
    pub(crate) fn broker_unknown(broker: &str) -> Self {
        Self {
            kind: ErrorKind::BrokerUnknown,
            phase: Phase::Route,
            maybe_stored: false,
            reason: format!("no address of broker {broker:?} is known"),
            hint: None,
            source: None,
        }
    }
}

impl From<remoting::Error> for Loss {
    fn from(error: remoting::Error) -> Self {
        let (kind, phase) = classify(&error);
        Self {
            kind,
            phase,
            maybe_stored: error.maybe_delivered(),
            reason: error.to_string(),
            hint: error.tls_hint(),
            source: Some(Arc::new(error)),
        }
    }
}

/// This crate's view of a transport failure.
pub(crate) fn classify(error: &remoting::Error) -> (ErrorKind, Phase) {
    use remoting::Stage;
    match error.kind() {
        remoting::ErrorKind::Connect => (ErrorKind::BrokerUnreachable, Phase::Connect),
        remoting::ErrorKind::Timeout(Stage::Connect) => (ErrorKind::Timeout, Phase::Connect),
        remoting::ErrorKind::Timeout(Stage::Response) => (ErrorKind::Timeout, Phase::Wait),
        remoting::ErrorKind::Timeout(_) => (ErrorKind::Timeout, Phase::Write),
        remoting::ErrorKind::Closed if error.maybe_delivered() => {
            (ErrorKind::ConnectionLost, Phase::Wait)
        }
        remoting::ErrorKind::Closed => (ErrorKind::ConnectionLost, Phase::Write),
        remoting::ErrorKind::Overloaded => (ErrorKind::Overloaded, Phase::Write),
        remoting::ErrorKind::Encode => (ErrorKind::MessageTooLarge, Phase::Write),
        _ => (ErrorKind::ConnectionLost, Phase::Wait),
    }
}

impl Outcome {
    /// Whether an outdated route explains it.
    pub(crate) fn hints_at_stale_route(&self) -> bool {
        match self {
            Self::Handed | Self::Stored(_) | Self::NotDurable(_) => false,
            Self::Refused { code, .. } => matches!(
                *code,
                ResponseCode::SERVICE_NOT_AVAILABLE
                    | ResponseCode::NO_PERMISSION
                    | ResponseCode::TOPIC_NOT_EXIST
                    | ResponseCode::INVALID_PARAMETER
            ),
            Self::Lost(_) => self.is_silence(),
        }
    }

    /// Whether the broker answered, whatever it said.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Stored(_) | Self::NotDurable(_) | Self::Refused { .. }
        )
    }

    /// Whether the broker did not answer although it was asked.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Lost(loss) if matches!(
            loss.kind,
            ErrorKind::BrokerUnreachable | ErrorKind::ConnectionLost | ErrorKind::Timeout
        ))
    }

    /// Whether there is no connection, or none any more.
    pub(crate) fn is_disconnect(&self) -> bool {
        matches!(self, Self::Lost(loss) if matches!(
            loss.kind,
            ErrorKind::BrokerUnreachable | ErrorKind::ConnectionLost
        ))
    }

    /// What the attempt tells about its broker. Java: the calls of `updateFaultItem` in `sendDefaultImpl`.
    pub(crate) fn observation(&self, latency: std::time::Duration) -> Observation {
        let (isolate, reachable) = match self {
            Self::Handed | Self::Stored(_) | Self::NotDurable(_) => (false, true),
            Self::Refused { .. } => (true, false),
            // an unknown address is the route's fault, a full local queue or a message that does not fit this side's
            Self::Lost(loss) => match loss.kind {
                ErrorKind::BrokerUnknown | ErrorKind::Overloaded | ErrorKind::MessageTooLarge => {
                    (false, true)
                }
                _ => (true, true),
            },
        };
        Observation {
            latency,
            isolate,
            reachable,
        }
    }
}

/// Reads a reply, or takes a transport failure as what it is.
pub(crate) fn interpret(
    reply: Result<RemotingCommand, remoting::Error>,
    prepared: &Prepared,
    broker_name: &Arc<str>,
) -> Outcome {
    interpret_with(reply, prepared, broker_name, || prepared.msg_id.clone())
}

/// As [`interpret`]; `msg_id` gives the result its message id, where that is the prepared one.
pub(crate) fn interpret_with(
    reply: Result<RemotingCommand, remoting::Error>,
    prepared: &Prepared,
    broker_name: &Arc<str>,
    msg_id: impl FnOnce() -> String,
) -> Outcome {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Outcome::Lost(error.into()),
    };
    if reply.response_code() == ResponseCode::GO_AWAY {
        // the transport has tried another connection already
        return Outcome::Lost(Loss {
            kind: ErrorKind::ConnectionLost,
            phase: Phase::Answer,
            maybe_stored: false,
            reason: "the broker is going away".to_owned(),
            hint: None,
            source: None,
        });
    }
    let status = match reply.code {
        0 => SendStatus::Ok,
        10 => SendStatus::FlushDiskTimeout,
        11 => SendStatus::SlaveNotAvailable,
        12 => SendStatus::FlushSlaveTimeout,
        _ => {
            return Outcome::Refused {
                code: reply.response_code(),
                remark: reply.remark,
            };
        }
    };
    let header: SendMessageReply = match reply.header() {
        Ok(header) => header,
        Err(error) => {
            // The code says that it is stored; where, is lost.
            return Outcome::Lost(Loss {
                kind: ErrorKind::Protocol,
                phase: Phase::Answer,
                maybe_stored: true,
                reason: format!("the broker's answer cannot be read: {error}"),
                hint: None,
                source: Some(Arc::new(error)),
            });
        }
    };
    let msg_id = match header.batch_uniq_id {
        // an inner batch is stored as one message, with the batch's own id
        Some(_) => prepared
            .message
            .properties()
            .get(rocketry_protocol::properties::name::UNIQ_KEY)
            .unwrap_or_default()
            .to_owned(),
        None => msg_id(),
    };
    let result = SendResult {
        status,
        msg_id,
        offset_msg_id: header.msg_id.into_owned(),
        queue: MessageQueue {
            topic: prepared.result_topic.clone(),
            broker_name: Arc::clone(broker_name),
            queue_id: header.queue_id,
        },
        queue_offset: header.queue_offset,
        transaction_id: header.transaction_id.map(Cow::into_owned),
        recall_handle: header.recall_handle,
        region_id: header.region_id,
        trace_on: header.trace_on,
    };
    match status {
        SendStatus::Ok => Outcome::Stored(result),
        _ => Outcome::NotDurable(result),
    }
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::{Fields, Message, id::IdSource};

    use super::*;
    use crate::producer::{
        Outgoing, prepare,
        validate::{self, Limits},
    };

    fn prepared(outgoing: Outgoing) -> Prepared {
        let limits = Limits {
            max_message_bytes: 1 << 20,
        };
        let ids = IdSource::new([10, 0, 0, 1].into(), 1, 1);
        prepare::prepare(validate::check(outgoing, limits).unwrap(), limits, &ids, 0).unwrap()
    }
    fn single() -> Prepared {
        prepared(Outgoing::Single(Message::new("T", "x")))
    }
    fn broker() -> Arc<str> {
        "a".into()
    }
    fn reply(code: i32, pairs: &[(&str, &str)]) -> RemotingCommand {
        let mut reply = RemotingCommand::response(ResponseCode(code)).with_remark("why");
        let mut fields = Fields::default();
        for (key, value) in pairs {
            fields.push(key, value);
        }
        reply.fields = Some(fields);
        reply
    }
    const STORED: [(&str, &str); 3] = [("msgId", "OFF"), ("queueId", "3"), ("queueOffset", "77")];

    /// P-061, P-073
    #[test]
    fn a_success_says_where_the_message_is() {
        let prepared = single();
        let Outcome::Stored(result) = interpret(Ok(reply(0, &STORED)), &prepared, &broker()) else {
            panic!("not stored");
        };
        assert_eq!(result.status, SendStatus::Ok);
        assert_eq!(result.msg_id, prepared.msg_id);
        assert_eq!(result.offset_msg_id, "OFF");
        // the broker has the last word on the queue
        assert_eq!((result.queue.queue_id, result.queue_offset), (3, 77));
        assert_eq!(&*result.queue.broker_name, "a");
        assert_eq!(
            (&*result.region_id, result.trace_on),
            ("DefaultRegion", true)
        );
        assert_eq!((result.transaction_id, result.recall_handle), (None, None));

        let more = [
            STORED.as_slice(),
            &[
                ("MSG_REGION", "r"),
                ("TRACE_ON", "false"),
                ("transactionId", "t"),
                ("recallHandle", "h"),
            ],
        ]
        .concat();
        let Outcome::Stored(result) = interpret(Ok(reply(0, &more)), &prepared, &broker()) else {
            panic!("not stored");
        };
        assert_eq!((&*result.region_id, result.trace_on), ("r", false));
        assert_eq!(result.transaction_id.as_deref(), Some("t"));
        assert_eq!(result.recall_handle.as_deref(), Some("h"));
    }

    /// P-063
    #[test]
    fn three_codes_mean_stored_but_not_durable() {
        for (code, status) in [
            (10, SendStatus::FlushDiskTimeout),
            (11, SendStatus::SlaveNotAvailable),
            (12, SendStatus::FlushSlaveTimeout),
        ] {
            let outcome = interpret(Ok(reply(code, &STORED)), &single(), &broker());
            assert!(matches!(outcome, Outcome::NotDurable(r) if r.status == status));
        }
    }

    #[test]
    fn every_other_code_is_a_refusal() {
        for code in (-1..3000).filter(|code| ![0, 10, 11, 12, 1500].contains(code)) {
            let outcome = interpret(Ok(reply(code, &[])), &single(), &broker());
            assert!(
                matches!(&outcome, Outcome::Refused { code: c, remark: Some(r) } if c.0 == code && r == "why"),
                "{code}"
            );
        }
    }

    /// P-073
    #[test]
    fn an_answer_without_its_fields_is_an_error_not_a_panic() {
        for missing in 0..3 {
            let mut pairs = STORED.to_vec();
            pairs.remove(missing);
            let outcome = interpret(Ok(reply(0, &pairs)), &single(), &broker());
            assert!(
                matches!(&outcome, Outcome::Lost(loss) if loss.kind == ErrorKind::Protocol && loss.maybe_stored),
                "{outcome:?}"
            );
        }
        let mut bare = reply(0, &[]);
        bare.fields = None;
        assert!(matches!(
            interpret(Ok(bare), &single(), &broker()),
            Outcome::Lost(_)
        ));
    }

    /// P-098
    #[test]
    fn a_batch_reports_the_ids_of_its_messages_or_of_the_inner_batch() {
        let prepared = prepared(Outgoing::Batch(vec![
            Message::new("T", "x"),
            Message::new("T", "y"),
        ]));
        let Outcome::Stored(result) = interpret(Ok(reply(0, &STORED)), &prepared, &broker()) else {
            panic!("not stored");
        };
        assert_eq!(result.msg_id, prepared.msg_id);
        assert_eq!(result.msg_id.split(',').count(), 2);
        let inner = [STORED.as_slice(), &[("batchUniqId", "B")]].concat();
        let Outcome::Stored(result) = interpret(Ok(reply(0, &inner)), &prepared, &broker()) else {
            panic!("not stored");
        };
        assert_eq!(
            Some(&*result.msg_id),
            prepared.message.properties().get("UNIQ_KEY")
        );
    }
}
