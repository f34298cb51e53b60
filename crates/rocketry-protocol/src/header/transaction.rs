//! Transactions, and timer messages that are taken back.

use super::NoFields;

/// Values of [`EndTransactionRequest::commit_or_rollback`]: bits of the system flag.
pub mod transaction_state {
    /// Not known yet. The broker neither acts nor answers.
    pub const UNKNOWN: i32 = 0;
    /// Deliver the message.
    pub const COMMIT: i32 = 8;
    /// Drop the message.
    pub const ROLLBACK: i32 = 12;
}

headers! {
    /// Commit or roll back a half message (37), one-way in Java. The text of a failure travels as the request's remark.
    EndTransactionRequest<'a> {
        /// Topic.
        topic: Option<&'a str> = "topic",
        /// Producer group.
        producer_group: &'a str = "producerGroup",
        /// Queue offset that the send of the half message returned.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Commit log offset of the half message.
        commit_log_offset: i64 = "commitLogOffset",
        /// See [`transaction_state`].
        commit_or_rollback: i32 = "commitOrRollback",
        /// Whether this answers a check by the broker.
        from_transaction_check: bool = "fromTransactionCheck" or false,
        /// Unique id of the message.
        msg_id: &'a str = "msgId",
        /// The same, normally.
        transaction_id: Option<&'a str> = "transactionId",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } END_TRANSACTION => NoFields;

    /// Broker to producer, one-way (39): what became of this transaction? The body is the message, as stored.
    CheckTransactionStateRequest<'a> {
        /// The broker's topic of half messages; the real one is in the body.
        topic: Option<&'a str> = "topic",
        /// Queue offset of the half message.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Commit log offset of the half message.
        commit_log_offset: i64 = "commitLogOffset",
        /// Unique id of the message.
        msg_id: Option<&'a str> = "msgId",
        /// The same, normally.
        transaction_id: Option<&'a str> = "transactionId",
        /// Offset message id.
        offset_msg_id: Option<&'a str> = "offsetMsgId",
        /// The broker's name.
        broker_name: Option<&'a str> = "bname",
    } CHECK_TRANSACTION_STATE => NoFields;

    /// Check a half message again that had been given up (323).
    ResumeCheckHalfMessageRequest<'a> {
        /// Topic.
        topic: Option<&'a str> = "topic",
        /// Offset message id.
        msg_id: Option<&'a str> = "msgId",
    } RESUME_CHECK_HALF_MESSAGE => NoFields;

    /// Cancel a timer message (370).
    RecallMessageRequest<'a> {
        /// Producer group.
        producer_group: Option<&'a str> = "producerGroup",
        /// Topic.
        topic: &'a str = "topic",
        /// The handle that the send returned.
        recall_handle: &'a str = "recallHandle",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } RECALL_MESSAGE => RecallMessageReply;

    /// What was cancelled.
    RecallMessageReply {
        /// Unique id of the message.
        msg_id: String = "msgId",
    };
}
