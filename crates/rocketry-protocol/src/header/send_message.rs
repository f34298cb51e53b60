//! Sending: one message, a batch, a reply. Java: `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`,
//! `SendMessageResponseHeader`.

use std::borrow::Cow;

use crate::{
    DecodeError, FieldReader, FieldWriter, ReadHeader, Request, RequestCode, WriteHeader,
    fields::{INT, LONG_INT, number, text},
};

/// Region that a broker reports unless it is configured otherwise.
const DEFAULT_REGION: &str = "DefaultRegion";

/// One message to store, or a batch (310). Written with the short field names; read from the short and the long ones.
///
/// The same fields travel under other codes as [`SendBatchMessageRequest`], [`SendReplyMessageRequest`],
/// [`SendMessageV1Request`] and [`SendReplyMessageV1Request`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendMessageRequest<'a> {
    /// Producer group. Absent reads as empty, as for Java's broker.
    pub producer_group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Topic whose settings are the template when the broker creates the topic: `TBW102`. Absent reads as empty.
    pub default_topic: &'a str,
    /// Queues of a topic that is created. Absent reads as 0.
    pub default_topic_queue_nums: i32,
    /// Queue; negative: the broker picks one at random.
    pub queue_id: i32,
    /// See [`crate::sys_flag`].
    pub sys_flag: i32,
    /// When the producer created the message, ms since 1970.
    pub born_timestamp: i64,
    /// The user's flag.
    pub flag: i32,
    /// Properties in wire text form; absent and empty are the same.
    pub properties: &'a str,
    /// How often consumption was tried again; absent reads as 0.
    pub reconsume_times: i32,
    /// Absent reads as false.
    pub unit_mode: bool,
    /// Only for retry topics: tries before the message goes to the dead letter queue.
    pub max_reconsume_times: Option<i32>,
    /// Whether the body is a batch. Only this decides, not the code. Absent reads as false.
    pub batch: bool,
    /// Name of the broker that the client believes it talks to.
    pub broker_name: Option<&'a str>,
}

impl SendMessageRequest<'_> {
    fn write_as(&self, names: &Names, out: &mut FieldWriter<'_>) {
        out.str(names.producer_group, self.producer_group);
        out.str(names.topic, self.topic);
        out.str(names.default_topic, self.default_topic);
        out.i32(
            names.default_topic_queue_nums,
            self.default_topic_queue_nums,
        );
        out.i32(names.queue_id, self.queue_id);
        out.i32(names.sys_flag, self.sys_flag);
        out.i64(names.born_timestamp, self.born_timestamp);
        out.i32(names.flag, self.flag);
        out.str(names.properties, self.properties);
        out.i32(names.reconsume_times, self.reconsume_times);
        out.bool(names.unit_mode, self.unit_mode);
        out.opt_i32(names.max_reconsume_times, self.max_reconsume_times);
        out.bool(names.batch, self.batch);
        out.opt_str(names.broker_name, self.broker_name);
    }
}

impl WriteHeader for SendMessageRequest<'_> {
    fn write(&self, out: &mut FieldWriter<'_>) {
        self.write_as(&SHORT, out);
    }
}

impl<'a> ReadHeader<'a> for SendMessageRequest<'a> {
    fn read(fields: &FieldReader<'a>) -> Result<Self, DecodeError> {
        // The code tells which names are used; looking for the long one spares every reader passing it in.
        let is_long = fields
            .opt_str(LONG.producer_group)
            .or_else(|| fields.opt_str(LONG.topic))
            .is_some();
        let names = if is_long { &LONG } else { &SHORT };
        Ok(Self {
            producer_group: fields.opt_str(names.producer_group).unwrap_or_default(),
            topic: fields.str(names.topic)?,
            default_topic: fields.opt_str(names.default_topic).unwrap_or_default(),
            default_topic_queue_nums: fields
                .opt_i32(names.default_topic_queue_nums)?
                .unwrap_or_default(),
            queue_id: fields.i32(names.queue_id)?,
            sys_flag: fields.i32(names.sys_flag)?,
            born_timestamp: fields.i64(names.born_timestamp)?,
            flag: fields.i32(names.flag)?,
            properties: fields.opt_str(names.properties).unwrap_or_default(),
            reconsume_times: fields.opt_i32(names.reconsume_times)?.unwrap_or_default(),
            unit_mode: fields.opt_bool(names.unit_mode).unwrap_or_default(),
            max_reconsume_times: fields.opt_i32(names.max_reconsume_times)?,
            batch: fields.opt_bool(names.batch).unwrap_or_default(),
            broker_name: fields.opt_str(names.broker_name),
        })
    }
}

impl Request for SendMessageRequest<'_> {
    const CODE: RequestCode = RequestCode::SEND_MESSAGE_V2;
    type Reply = SendMessageReply;
}

macro_rules! same_fields {
    ($($(#[$meta:meta])* $name:ident: $code:ident, $names:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name<'a>(pub SendMessageRequest<'a>);

        impl WriteHeader for $name<'_> {
            fn write(&self, out: &mut FieldWriter<'_>) {
                self.0.write_as(&$names, out);
            }
        }
        impl<'a> ReadHeader<'a> for $name<'a> {
            fn read(fields: &FieldReader<'a>) -> Result<Self, DecodeError> {
                SendMessageRequest::read(fields).map(Self)
            }
        }
        impl Request for $name<'_> {
            const CODE: RequestCode = RequestCode::$code;
            type Reply = SendMessageReply;
        }
    )*};
}

same_fields! {
    /// A batch (320); `batch` should be true.
    SendBatchMessageRequest: SEND_BATCH_MESSAGE, SHORT;
    /// The reply of a request (325).
    SendReplyMessageRequest: SEND_REPLY_MESSAGE_V2, SHORT;
    /// One message, with the long field names that old clients use (10).
    SendMessageV1Request: SEND_MESSAGE, LONG;
    /// The reply of a request, with the long field names that old clients use (324).
    SendReplyMessageV1Request: SEND_REPLY_MESSAGE, LONG;
}

/// [`SendReply`] as it is read: on its own.
pub type SendMessageReply = SendReply<'static>;

/// Where a message was stored. Sent with [`crate::ResponseCode::SUCCESS`], `FLUSH_DISK_TIMEOUT`, `FLUSH_SLAVE_TIMEOUT` and
/// `SLAVE_NOT_AVAILABLE`: in each of them the message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReply<'a> {
    /// Offset message id; of a batch all of them, joined by `,`; `0` for replies that the broker does not store.
    pub msg_id: Cow<'a, str>,
    /// Queue that was chosen.
    pub queue_id: i32,
    /// Offset in that queue, of the first message of a batch.
    pub queue_offset: i64,
    /// The message's unique id, if it has one.
    pub transaction_id: Option<Cow<'a, str>>,
    /// Only for a batch that is stored as one record.
    pub batch_uniq_id: Option<String>,
    /// Only for timer messages.
    pub recall_handle: Option<String>,
    /// The broker's region; absent reads as `DefaultRegion`.
    pub region_id: Cow<'static, str>,
    /// Whether the broker wants messages to be traced: everything but the text `false`, also when absent.
    pub trace_on: bool,
}

impl<'a> SendReply<'a> {
    /// A reply with what every send has.
    pub fn new(msg_id: impl Into<Cow<'a, str>>, queue_id: i32, queue_offset: i64) -> Self {
        Self {
            msg_id: msg_id.into(),
            queue_id,
            queue_offset,
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            region_id: Cow::Borrowed(DEFAULT_REGION),
            trace_on: true,
        }
    }
}

impl WriteHeader for SendReply<'_> {
    fn write(&self, out: &mut FieldWriter<'_>) {
        out.str("msgId", &self.msg_id);
        out.i32("queueId", self.queue_id);
        out.i64("queueOffset", self.queue_offset);
        out.opt_str("transactionId", self.transaction_id.as_deref());
        out.opt_str("batchUniqId", self.batch_uniq_id.as_deref());
        out.opt_str("recallHandle", self.recall_handle.as_deref());
        out.str("MSG_REGION", &self.region_id);
        out.bool("TRACE_ON", self.trace_on);
    }
}

impl ReadHeader<'_> for SendMessageReply {
    /// In one pass over what there is: brokers differ in what they leave out, and in the order.
    fn read(fields: &FieldReader<'_>) -> Result<Self, DecodeError> {
        let owned = |value| text(value).to_owned();
        let (mut msg_id, mut queue_id, mut queue_offset) = (None, None, None);
        let mut reply = Self::new("", 0, 0);
        for (key, value) in fields.values() {
            match key {
                b"msgId" => msg_id = Some(owned(value)),
                b"queueId" => queue_id = Some(number(value, "queueId", INT)?),
                b"queueOffset" => queue_offset = Some(number(value, "queueOffset", LONG_INT)?),
                b"transactionId" => reply.transaction_id = Some(owned(value).into()),
                b"batchUniqId" => reply.batch_uniq_id = Some(owned(value)),
                b"recallHandle" => reply.recall_handle = Some(owned(value)),
                b"MSG_REGION" if !value.is_empty() && value != DEFAULT_REGION.as_bytes() => {
                    reply.region_id = owned(value).into();
                }
                b"TRACE_ON" => reply.trace_on = value != b"false",
                _ => {}
            }
        }
        let missing = |field| DecodeError::MissingField { field };
        reply.msg_id = msg_id.ok_or_else(|| missing("msgId"))?.into();
        reply.queue_id = queue_id.ok_or_else(|| missing("queueId"))?;
        reply.queue_offset = queue_offset.ok_or_else(|| missing("queueOffset"))?;
        Ok(reply)
    }
}

struct Names {
    producer_group: &'static str,
    topic: &'static str,
    default_topic: &'static str,
    default_topic_queue_nums: &'static str,
    queue_id: &'static str,
    sys_flag: &'static str,
    born_timestamp: &'static str,
    flag: &'static str,
    properties: &'static str,
    reconsume_times: &'static str,
    unit_mode: &'static str,
    max_reconsume_times: &'static str,
    batch: &'static str,
    broker_name: &'static str,
}

const LONG: Names = Names {
    producer_group: "producerGroup",
    topic: "topic",
    default_topic: "defaultTopic",
    default_topic_queue_nums: "defaultTopicQueueNums",
    queue_id: "queueId",
    sys_flag: "sysFlag",
    born_timestamp: "bornTimestamp",
    flag: "flag",
    properties: "properties",
    reconsume_times: "reconsumeTimes",
    unit_mode: "unitMode",
    max_reconsume_times: "maxReconsumeTimes",
    batch: "batch",
    broker_name: "bname",
};

const SHORT: Names = Names {
    producer_group: "a",
    topic: "b",
    default_topic: "c",
    default_topic_queue_nums: "d",
    queue_id: "e",
    sys_flag: "f",
    born_timestamp: "g",
    flag: "h",
    properties: "i",
    reconsume_times: "j",
    unit_mode: "k",
    max_reconsume_times: "l",
    batch: "m",
    broker_name: "n",
};
