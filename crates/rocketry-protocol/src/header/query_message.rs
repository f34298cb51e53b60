//! Messages by place and by key.

use super::NoFields;

headers! {
    /// The message at a commit log offset (33), in the body of the reply.
    ViewMessageRequest<'a> {
        /// Topic.
        topic: Option<&'a str> = "topic",
        /// Offset in the commit log.
        offset: i64 = "offset",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } VIEW_MESSAGE_BY_ID => NoFields;

    /// Messages by key (12), in the body of the reply. The index knows hashes only: the caller must compare the keys.
    QueryMessageRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// The key.
        key: &'a str = "key",
        /// Most messages to send.
        max_num: i32 = "maxNum",
        /// Earliest store time, ms since 1970.
        begin_timestamp: i64 = "beginTimestamp",
        /// Latest store time, ms since 1970.
        end_timestamp: i64 = "endTimestamp",
        /// `K` keys (also when absent), `U` unique ids, `T` tags.
        index_type: Option<&'a str> = "indexType",
        /// Where the answer before this one ended.
        last_key: Option<&'a str> = "lastKey",
        /// True: the key is a unique id, and the broker's own maximum counts.
        unique_key_query: Option<bool> = "_UNIQUE_KEY_QUERY",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } QUERY_MESSAGE => QueryMessageReply;

    /// How fresh the index is.
    QueryMessageReply {
        /// Store time of the last message in the index, ms since 1970.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Commit log offset of the last message in the index.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    };
}
