//! Routes of a topic, and what the name server knows of the cluster.

use super::NoFields;

headers! {
    /// Brokers and queues of a topic (105). The body of the reply is a route.
    GetRouteInfoRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Whether only standard JSON is understood. Name servers also take a high request version as a yes.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    } GET_ROUTEINFO_BY_TOPIC => NoFields;

    /// Names of a cluster's topics (224). The body of the reply is a topic list, empty for an unknown cluster.
    GetTopicsByClusterRequest<'a> {
        /// Cluster.
        cluster: &'a str = "cluster",
    } GET_TOPICS_BY_CLUSTER => NoFields;

    /// Delete a topic's routes (216). They come back with the next registration of a broker that still has the topic.
    DeleteTopicInNamesrvRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
        /// Only that cluster's brokers.
        cluster_name: Option<&'a str> = "clusterName",
    } DELETE_TOPIC_IN_NAMESRV => NoFields;

    /// Put a topic's route into the name server (217). The body is a route, of which the queues are used.
    RegisterTopicRequest<'a> {
        /// Topic.
        topic: &'a str = "topic",
    } REGISTER_TOPIC_IN_NAMESRV => NoFields;

    /// Make all queues of a broker unwritable in the routes (205).
    WipeWritePermOfBrokerRequest<'a> {
        /// Broker.
        broker_name: &'a str = "brokerName",
    } WIPE_WRITE_PERM_OF_BROKER => WipeWritePermOfBrokerReply;

    /// What was changed.
    WipeWritePermOfBrokerReply {
        /// Number of topics.
        wipe_topic_count: Option<i32> = "wipeTopicCount",
    };

    /// Make all queues of a broker writable in the routes (327).
    AddWritePermOfBrokerRequest<'a> {
        /// Broker.
        broker_name: &'a str = "brokerName",
    } ADD_WRITE_PERM_OF_BROKER => AddWritePermOfBrokerReply;

    /// What was changed.
    AddWritePermOfBrokerReply {
        /// Number of topics.
        add_topic_count: Option<i32> = "addTopicCount",
    };
}
