//! Brokers at the name server.

use super::NoFields;

headers! {
    /// Broker to name server (103): I am here. The body lists the broker's topics.
    RegisterBrokerRequest<'a> {
        /// Broker name.
        broker_name: &'a str = "brokerName",
        /// The broker's address, `ip:port`.
        broker_addr: &'a str = "brokerAddr",
        /// Cluster.
        cluster_name: &'a str = "clusterName",
        /// The broker's replication address, `ip:port`.
        ha_server_addr: &'a str = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// After how long without a sign of life the name server drops the broker, ms.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether a replica may act as master.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is compressed.
        compressed: bool = "compressed" or false,
        /// CRC-32 of the body's bytes without the sign bit; 0 is not checked.
        body_crc32: i32 = "bodyCrc32" or 0,
    } REGISTER_BROKER => RegisterBrokerReply;

    /// What a replica needs to know; a master gets an empty map.
    RegisterBrokerReply {
        /// The master's replication address.
        ha_server_addr: Option<String> = "haServerAddr",
        /// The master's address.
        master_addr: Option<String> = "masterAddr",
    };

    /// Broker to name server (104): I am leaving.
    UnregisterBrokerRequest<'a> {
        /// Broker name.
        broker_name: &'a str = "brokerName",
        /// The broker's address, `ip:port`.
        broker_addr: &'a str = "brokerAddr",
        /// Cluster.
        cluster_name: &'a str = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    } UNREGISTER_BROKER => NoFields;

    /// Broker to name server (322): do you know this version of my topics? The body is a data version, that of the reply the
    /// name server's.
    QueryDataVersionRequest<'a> {
        /// Broker name.
        broker_name: &'a str = "brokerName",
        /// The broker's address, `ip:port`.
        broker_addr: &'a str = "brokerAddr",
        /// Cluster.
        cluster_name: &'a str = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    } QUERY_DATA_VERSION => QueryDataVersionReply;

    /// Whether the broker should register.
    QueryDataVersionReply {
        /// Whether the name server's version differs.
        changed: bool = "changed",
    };

    /// Broker to name server (904): I am still here.
    BrokerHeartbeatRequest<'a> {
        /// Cluster.
        cluster_name: &'a str = "clusterName",
        /// The broker's address, `ip:port`.
        broker_addr: &'a str = "brokerAddr",
        /// Broker name.
        broker_name: &'a str = "brokerName",
        /// 0 is the master.
        broker_id: Option<i64> = "brokerId",
        /// Only with a controller.
        epoch: Option<i32> = "epoch",
        /// Only with a controller.
        max_offset: Option<i64> = "maxOffset",
        /// Only with a controller.
        confirm_offset: Option<i64> = "confirmOffset",
        /// After how long without a sign of life the name server drops the broker, ms.
        heartbeat_timeout_mills: Option<i64> = "heartbeatTimeoutMills",
        /// Only with a controller.
        election_priority: Option<i32> = "electionPriority",
    } BROKER_HEARTBEAT => NoFields;

    /// Addresses of the brokers of one name (901), in the body of the reply.
    GetBrokerMemberGroupRequest<'a> {
        /// Cluster.
        cluster_name: &'a str = "clusterName",
        /// Broker name.
        broker_name: &'a str = "brokerName",
    } GET_BROKER_MEMBER_GROUP => NoFields;
}
