//! The request of one attempt: fresh each time, since queue and broker belong to the attempt.
//! Java: the header of `DefaultMQProducerImpl.sendKernelImpl`, the codes of `MQClientAPIImpl.sendMessage`.

use rocketry_protocol::{
    FieldWriter, Group, RequestCode, TypedRequest, WriteHeader,
    header::{SendMessageRequest, SendMessageV1Request},
};

use super::prepare::{Kind, Prepared};
use crate::config::ProducerConfig;

/// What every request of a producer says.
#[derive(Debug)]
pub(crate) struct EncodeConfig {
    group: Group,
    create_topic_key: String,
    topic_queues: i32,
    unit_mode: bool,
    short_headers: bool,
}

impl EncodeConfig {
    pub(crate) fn new(group: Group, producer: &ProducerConfig) -> Self {
        Self {
            group,
            create_topic_key: producer.create_topic_key.clone(),
            topic_queues: producer.topic_queues,
            unit_mode: producer.unit_mode,
            short_headers: producer.short_headers,
        }
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

/// The request that asks the broker of that name to store the message in one of its queues.
pub(crate) fn encode<'a>(
    prepared: &'a Prepared,
    broker_name: &'a str,
    queue_id: i32,
    config: &'a EncodeConfig,
    born_ms: i64,
) -> TypedRequest<SendHeader<'a>> {
    let header = SendMessageRequest {
        producer_group: config.group.as_str(),
        topic: prepared.topic.as_str(),
        default_topic: &config.create_topic_key,
        default_topic_queue_nums: config.topic_queues,
        queue_id,
        sys_flag: prepared.sys_flag,
        born_timestamp: born_ms,
        flag: prepared.message.flag(),
        properties: prepared.message.properties().as_str(),
        reconsume_times: prepared.reconsume_times,
        unit_mode: config.unit_mode,
        max_reconsume_times: prepared.max_reconsume_times,
        batch: prepared.kind == Kind::Batch,
        broker_name: Some(broker_name),
    };
    let (code, is_long) = match (prepared.kind, config.short_headers) {
        (Kind::Batch, _) => (RequestCode::SEND_BATCH_MESSAGE, false),
        (Kind::Reply, true) => (RequestCode::SEND_REPLY_MESSAGE_V2, false),
        (Kind::Reply, false) => (RequestCode::SEND_REPLY_MESSAGE, true),
        (Kind::Message, true) => (RequestCode::SEND_MESSAGE_V2, false),
        (Kind::Message, false) => (RequestCode::SEND_MESSAGE, true),
    };
    TypedRequest::new(code, SendHeader { header, is_long }).with_body(prepared.wire_body().clone())
}

/// The fields of a send, under their one-letter names or the long ones.
#[derive(Debug, Clone)]
pub(crate) struct SendHeader<'a> {
    header: SendMessageRequest<'a>,
    is_long: bool,
}

impl WriteHeader for SendHeader<'_> {
    fn write(&self, out: &mut FieldWriter<'_>) {
        if self.is_long {
            SendMessageV1Request(self.header).write(out);
        } else {
            self.header.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::{Message, RemotingCommand, id::IdSource};

    use super::*;
    use crate::producer::{
        Outgoing, prepare,
        validate::{self, Limits},
    };

    fn config(short_headers: bool) -> EncodeConfig {
        let producer = ProducerConfig {
            short_headers,
            ..ProducerConfig::default()
        };
        EncodeConfig::new(Group::new("PG").unwrap(), &producer)
    }
    fn encode(
        prepared: &Prepared,
        broker_name: &str,
        queue_id: i32,
        config: &EncodeConfig,
        born_ms: i64,
    ) -> RemotingCommand {
        super::encode(prepared, broker_name, queue_id, config, born_ms).into_command()
    }
    fn prepared(outgoing: Outgoing) -> Prepared {
        let limits = Limits {
            max_message_bytes: 1 << 20,
        };
        let ids = IdSource::new([10, 0, 0, 1].into(), 1, 1);
        prepare::prepare(validate::check(outgoing, limits).unwrap(), limits, &ids, 0).unwrap()
    }
    fn single() -> Prepared {
        let mut message = Message::new("TopicTest", "x").property("A", "b");
        message.properties_mut().set("UNIQ_KEY", "ID");
        prepared(Outgoing::Single(message))
    }
    fn fields(command: &RemotingCommand) -> Vec<(String, String)> {
        let fields = command.fields.as_ref().unwrap();
        fields
            .iter()
            .map(|(key, value)| (key.to_owned(), value.unwrap().to_owned()))
            .collect()
    }

    /// P-062, with values that Java computed
    #[test]
    fn an_ordinary_send_has_the_short_header() {
        let command = encode(&single(), "broker-a", 2, &config(true), 1_700_000_000_000);
        assert_eq!(command.code, 310);
        let expected = [
            ("a", "PG"),
            ("b", "TopicTest"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "2"),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "0"),
            ("i", "A\u{1}b\u{2}UNIQ_KEY\u{1}ID\u{2}"),
            ("j", "0"),
            ("k", "false"),
            ("m", "false"),
            ("n", "broker-a"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(fields(&command), expected);
        assert_eq!(&*command.body, b"x");
    }

    /// P-062, with the names of the older header
    #[test]
    fn long_headers_are_there_for_old_brokers() {
        let command = encode(&single(), "broker-a", 2, &config(false), 1);
        assert_eq!(command.code, 10);
        let names: Vec<_> = fields(&command).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            names,
            [
                "producerGroup",
                "topic",
                "defaultTopic",
                "defaultTopicQueueNums",
                "queueId",
                "sysFlag",
                "bornTimestamp",
                "flag",
                "properties",
                "reconsumeTimes",
                "unitMode",
                "batch",
                "bname"
            ]
        );
    }

    /// P-095
    #[test]
    fn a_batch_has_its_own_code_and_always_short_names() {
        let batch = prepared(Outgoing::Batch(vec![Message::new("TopicTest", "x")]));
        for short in [true, false] {
            let command = encode(&batch, "broker-a", 2, &config(short), 1);
            assert_eq!(command.code, 320);
            assert_eq!(command.field("m"), Some("true"));
        }
    }

    /// P-077
    #[test]
    fn retry_topics_have_their_counts_on_every_attempt() {
        let mut message = Message::new("%RETRY%g", "x");
        message.properties_mut().set("RECONSUME_TIME", "3");
        message.properties_mut().set("MAX_RECONSUME_TIMES", "5");
        let prepared = prepared(Outgoing::Single(message));
        for _ in 0..2 {
            let command = encode(&prepared, "broker-a", 2, &config(true), 1);
            assert_eq!(
                (command.field("j"), command.field("l")),
                (Some("3"), Some("5"))
            );
        }
    }

    #[test]
    fn replies_have_their_own_codes() {
        let mut message = Message::new("C_REPLY_TOPIC", "x");
        message.properties_mut().set("MSG_TYPE", "reply");
        let prepared = prepared(Outgoing::Single(message));
        assert_eq!(encode(&prepared, "broker-a", 2, &config(true), 1).code, 325);
        assert_eq!(
            encode(&prepared, "broker-a", 2, &config(false), 1).code,
            324
        );
    }
}
