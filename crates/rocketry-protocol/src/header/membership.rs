//! Clients and the groups they belong to.

use super::NoFields;

headers! {
    /// Register a client (34). The body says with which groups and subscriptions.
    HeartbeatRequest {} HEART_BEAT => HeartbeatReply;

    /// What the broker makes of a heartbeat.
    HeartbeatReply {
        /// Whether heartbeats without subscriptions are understood.
        supports_v2: bool = "IS_SUPPORT_HEART_BEAT_V2" or false,
        /// Whether the group's subscriptions differ from those of the heartbeat before.
        subscription_changed: bool = "IS_SUB_CHANGE" or false,
    };

    /// Take a client out of its groups (35).
    UnregisterClientRequest<'a> {
        /// Client id.
        client_id: &'a str = "clientID",
        /// Producer group to leave.
        producer_group: Option<&'a str> = "producerGroup",
        /// Consumer group to leave.
        consumer_group: Option<&'a str> = "consumerGroup",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } UNREGISTER_CLIENT => NoFields;

    /// Client ids of a consumer group (38), in the body of the reply.
    GetConsumerListByGroupRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } GET_CONSUMER_LIST_BY_GROUP => NoFields;

    /// Broker to consumer, one-way (40): the members of a group changed.
    NotifyConsumerIdsChangedRequest<'a> {
        /// Consumer group.
        consumer_group: &'a str = "consumerGroup",
    } NOTIFY_CONSUMER_IDS_CHANGED => NoFields;

    /// Lock queues for orderly consumption (41). The body says which, that of the reply which are held now.
    LockBatchMqRequest<'a> {
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } LOCK_BATCH_MQ => NoFields;

    /// Give up such locks (42). The body says which.
    UnlockBatchMqRequest<'a> {
        /// Name of the broker that the client believes it talks to.
        broker_name: Option<&'a str> = "bname",
    } UNLOCK_BATCH_MQ => NoFields;
}
