//! Wire names of well-known properties. Java: `MessageConst`.

/// Index keys, separated by one blank.
pub const KEYS: &str = "KEYS";
/// The tag.
pub const TAGS: &str = "TAGS";
/// The client's message id.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// `false`: the broker answers without waiting for flush and replication.
pub const WAIT: &str = "WAIT";
/// Delay level, 1..=18.
pub const DELAY: &str = "DELAY";
/// Delay in seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Delay in milliseconds.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// Time of delivery, ms since 1970.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// Broker: when the timer took the message, ms since 1970.
pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
/// Broker: when the timer let the message go, ms since 1970.
pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
/// Broker: how often the message went round the wheel.
pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
/// Broker: due time, ms since 1970.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// Broker: the message id that a recall deletes.
pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
/// Broker: the level a timer message came from.
pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";
/// Broker: label of a rolled message.
pub const TIMER_ROLL_LABEL: &str = "TIMER_ROLL_LABEL";
/// Priority, 0 or more.
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
/// Messages of one key keep their order.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Lite topic below the message's topic.
pub const LITE_TOPIC: &str = "__LITE_TOPIC";
/// Buyer id, carried for applications.
pub const BUYER_ID: &str = "BUYER_ID";
/// Namespace of clients that prefix names with it.
pub const INSTANCE_ID: &str = "INSTANCE_ID";
/// Extension of the message id.
pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
/// `true` on half messages.
pub const TRAN_MSG: &str = "TRAN_MSG";
/// Producer group of a half message.
pub const PGROUP: &str = "PGROUP";
/// Transaction id handed to the listener.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// Broker: queue offset of the half message.
pub const TRAN_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
/// Broker: how often the producer was asked.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// No check of the transaction within this time.
pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// Transaction offset.
pub const TRANS_OFFSET: &str = "TRANS_OFFSET";
/// Ties a reply to its request.
pub const CORRELATION_ID: &str = "CORRELATION_ID";
/// Client id of the requester.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// Time to wait for the reply, ms.
pub const TTL: &str = "TTL";
/// `reply` on reply messages.
pub const MSG_TYPE: &str = "MSG_TYPE";
/// Cluster of the broker that stored the message.
pub const CLUSTER: &str = "CLUSTER";
/// When the broker pushed the reply, ms since 1970.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
/// When the reply reached the broker, ms since 1970.
pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
/// Topic of a message in a retry topic.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// Group of a message in a retry topic.
pub const ORIGIN_GROUP: &str = "ORIGIN_GROUP";
/// Topic of a message parked in a schedule, half or timer topic.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// Queue of a parked message.
pub const REAL_QID: &str = "REAL_QID";
/// Offset id of the message that is consumed again.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// How often consumption was tried again.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// How often it may be tried again.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// Client: when consumption began, ms since 1970.
pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
/// Client: smallest offset of the queue when pulled.
pub const MIN_OFFSET: &str = "MIN_OFFSET";
/// Client: largest offset of the queue when pulled.
pub const MAX_OFFSET: &str = "MAX_OFFSET";
/// Kept for older systems.
pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
/// Kept for older systems.
pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
/// Kept for older systems.
pub const MQ2_FLAG: &str = "MQ2_FLAG";
/// Kept for older systems.
pub const DUP_INFO: &str = "DUP_INFO";
/// Region of the broker that stored the message.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether the broker lets clients trace.
pub const TRACE_ON: &str = "TRACE_ON";
/// Receipt of a message read by pop.
pub const POP_CK: &str = "POP_CK";
/// Offset of the pop check point.
pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
/// When the message was first popped, ms since 1970.
pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
/// Names of light queues, joined by commas.
pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
/// Offsets in the light queues, joined by commas.
pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
/// Messages in an inner batch.
pub const INNER_NUM: &str = "INNER_NUM";
/// Queue offset of the first message of an inner batch.
pub const INNER_BASE: &str = "INNER_BASE";
/// Address of the producer behind a proxy.
pub const BORN_HOST: &str = "__BORNHOST";
/// Creation time, ms since 1970.
pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
/// Topic of a dead letter.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// Id of a dead letter before it died.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// Check sum over the record, see [`crate::record::crc_property`].
pub const CRC32: &str = "__CRC32#";
/// Kept for proxies.
pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";
/// Kept for proxies.
pub const REDIRECT: &str = "REDIRECT";
/// Context of an outer tracing system.
pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
/// Delivery time of an older product, ms since 1970.
pub const START_DELIVER_TIME: &str = "__STARTDELIVERTIME";
/// Prefix of values that never leave the client.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";

/// Whether applications are refused this name because clients and brokers use it.
/// Java: `MessageConst.STRING_HASH_SET`.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

/// Sorted by wire name.
const RESERVED: &[&str] = &[
    FIRST_POP_TIME,
    ARRIVE_TIME,
    BORN_TIMESTAMP,
    BUYER_ID,
    CLUSTER,
    CONSUME_START_TIME,
    CORRECTION_FLAG,
    CORRELATION_ID,
    DELAY,
    DLQ_ORIGIN_MESSAGE_ID,
    DLQ_ORIGIN_TOPIC,
    DUP_INFO,
    EXTEND_UNIQ_INFO,
    INNER_MULTI_QUEUE_OFFSET,
    INSTANCE_ID,
    KEYS,
    MAX_OFFSET,
    MAX_RECONSUME_TIMES,
    MIN_OFFSET,
    MQ2_FLAG,
    MSG_REGION,
    MSG_TYPE,
    ORIGIN_GROUP,
    ORIGIN_MESSAGE_ID,
    PGROUP,
    POP_CK,
    POP_CK_OFFSET,
    PUSH_REPLY_TIME,
    REAL_QID,
    REAL_TOPIC,
    RECONSUME_TIME,
    REPLY_TO_CLIENT,
    RETRY_TOPIC,
    TAGS,
    TIMER_DELAY_LEVEL,
    TIMER_DELAY_MS,
    TIMER_DELAY_SEC,
    TIMER_DELIVER_MS,
    TIMER_DEL_UNIQKEY,
    TIMER_DEQUEUE_MS,
    TIMER_ENQUEUE_MS,
    TIMER_OUT_MS,
    TIMER_ROLL_TIMES,
    TRACE_ON,
    TRANSFER_FLAG,
    TRAN_MSG,
    TRAN_PREPARED_QUEUE_OFFSET,
    TTL,
    UNIQ_KEY,
    WAIT,
    PRIORITY,
    BORN_HOST,
    CRC32,
    LITE_TOPIC,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_sorted_and_found() {
        assert!(RESERVED.is_sorted());
        assert!(is_reserved("UNIQ_KEY"));
        assert!(is_reserved("__CRC32#"));
        assert!(!is_reserved("__SHARDINGKEY"));
        assert!(!is_reserved("colour"));
    }
}
