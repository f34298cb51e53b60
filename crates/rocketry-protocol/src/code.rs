//! Request codes, response codes and language codes: open newtypes, so that codes this version does not know survive a round trip.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$cdoc:meta])* $constant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i32);

        impl $name {
            $($(#[$cdoc])* pub const $constant: Self = Self($value);)*

            /// Java's name of the constant; `None` for a code this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{} {}", self.0, name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// What a request asks for. Java: `RequestCode`.
    RequestCode {
        /// Send one message, long field names.
        SEND_MESSAGE = 10,
        /// Pull messages of one queue, waiting for some if asked to.
        PULL_MESSAGE = 11,
        /// Messages by key or unique id.
        QUERY_MESSAGE = 12,
        /// A constant without sender or handler.
        QUERY_BROKER_OFFSET = 13,
        /// The committed offset of a group in a queue.
        QUERY_CONSUMER_OFFSET = 14,
        /// Commit an offset.
        UPDATE_CONSUMER_OFFSET = 15,
        /// Create or change a topic on one broker.
        UPDATE_AND_CREATE_TOPIC = 17,
        /// Create or change several topics on one broker.
        UPDATE_AND_CREATE_TOPIC_LIST = 18,
        /// All topics of a broker, in pages if asked to.
        GET_ALL_TOPIC_CONFIG = 21,
        /// A constant without sender or handler.
        GET_TOPIC_CONFIG_LIST = 22,
        /// A constant without sender or handler.
        GET_TOPIC_NAME_LIST = 23,
        /// Change settings of a running broker.
        UPDATE_BROKER_CONFIG = 25,
        /// The settings of a broker.
        GET_BROKER_CONFIG = 26,
        /// A constant without sender or handler.
        TRIGGER_DELETE_FILES = 27,
        /// Statistics and state of a broker.
        GET_BROKER_RUNTIME_INFO = 28,
        /// The queue offset at a time.
        SEARCH_OFFSET_BY_TIMESTAMP = 29,
        /// One past the last offset of a queue.
        GET_MAX_OFFSET = 30,
        /// The first offset of a queue.
        GET_MIN_OFFSET = 31,
        /// When the first message of a queue was stored.
        GET_EARLIEST_MSG_STORETIME = 32,
        /// The message at a commit log offset.
        VIEW_MESSAGE_BY_ID = 33,
        /// Register a client with its groups and subscriptions.
        HEART_BEAT = 34,
        /// Take a client out of its groups.
        UNREGISTER_CLIENT = 35,
        /// Deliver a message again later, or give it up.
        CONSUMER_SEND_MSG_BACK = 36,
        /// Commit or roll back a half message.
        END_TRANSACTION = 37,
        /// Client ids of a consumer group.
        GET_CONSUMER_LIST_BY_GROUP = 38,
        /// Broker to producer: what became of a transaction?
        CHECK_TRANSACTION_STATE = 39,
        /// Broker to consumer: the members of a group changed.
        NOTIFY_CONSUMER_IDS_CHANGED = 40,
        /// Lock queues for orderly consumption.
        LOCK_BATCH_MQ = 41,
        /// Give up such locks.
        UNLOCK_BATCH_MQ = 42,
        /// All committed offsets, for replicas.
        GET_ALL_CONSUMER_OFFSET = 43,
        /// Progress of the delay levels, for replicas.
        GET_ALL_DELAY_OFFSET = 45,
        /// Would the broker accept this subscription?
        CHECK_CLIENT_CONFIG = 46,
        /// A constant without sender or handler.
        GET_CLIENT_CONFIG = 47,
        /// State of the timer, for replicas.
        GET_TIMER_CHECK_POINT = 60,
        /// Numbers of waiting timer messages, for replicas.
        GET_TIMER_METRICS = 61,
        /// Set a value in the name server's table.
        PUT_KV_CONFIG = 100,
        /// Read a value of the name server's table.
        GET_KV_CONFIG = 101,
        /// Delete a value of the name server's table.
        DELETE_KV_CONFIG = 102,
        /// Broker to name server: I am here, with these topics.
        REGISTER_BROKER = 103,
        /// Broker to name server: I am leaving.
        UNREGISTER_BROKER = 104,
        /// Brokers and queues of a topic.
        GET_ROUTEINFO_BY_TOPIC = 105,
        /// All clusters and brokers.
        GET_BROKER_CLUSTER_INFO = 106,
        /// Create or change a consumer group on one broker.
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200,
        /// All consumer groups of a broker, in pages if asked to.
        GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201,
        /// Offsets of all queues of a topic.
        GET_TOPIC_STATS_INFO = 202,
        /// Live members of a consumer group.
        GET_CONSUMER_CONNECTION_LIST = 203,
        /// Live members of a producer group.
        GET_PRODUCER_CONNECTION_LIST = 204,
        /// Make all queues of a broker unwritable in the routes.
        WIPE_WRITE_PERM_OF_BROKER = 205,
        /// Names of all topics.
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206,
        /// Delete a consumer group on one broker.
        DELETE_SUBSCRIPTIONGROUP = 207,
        /// Progress of a consumer group.
        GET_CONSUME_STATS = 208,
        /// A constant without sender or handler.
        SUSPEND_CONSUMER = 209,
        /// A constant without sender or handler.
        RESUME_CONSUMER = 210,
        /// A constant without sender or handler.
        RESET_CONSUMER_OFFSET_IN_CONSUMER = 211,
        /// A constant without sender or handler.
        RESET_CONSUMER_OFFSET_IN_BROKER = 212,
        /// A constant without sender or handler.
        ADJUST_CONSUMER_THREAD_POOL = 213,
        /// A constant without sender or handler.
        WHO_CONSUME_THE_MESSAGE = 214,
        /// Delete a topic on one broker.
        DELETE_TOPIC_IN_BROKER = 215,
        /// Delete a topic's routes.
        DELETE_TOPIC_IN_NAMESRV = 216,
        /// Put a topic's route into the name server.
        REGISTER_TOPIC_IN_NAMESRV = 217,
        /// All values of a namespace of the name server's table.
        GET_KVLIST_BY_NAMESPACE = 219,
        /// Broker to consumer: go on at these offsets.
        RESET_CONSUMER_CLIENT_OFFSET = 220,
        /// Broker to consumer: where are you?
        GET_CONSUMER_STATUS_FROM_CLIENT = 221,
        /// Reset a group's offsets to a time or an offset.
        INVOKE_BROKER_TO_RESET_OFFSET = 222,
        /// Ask the members of a group for their offsets.
        INVOKE_BROKER_TO_GET_CONSUMER_STATUS = 223,
        /// Names of a cluster's topics.
        GET_TOPICS_BY_CLUSTER = 224,
        /// Create or change several consumer groups.
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST = 225,
        /// Groups that consume a topic.
        QUERY_TOPIC_CONSUME_BY_WHO = 300,
        /// A constant without sender or handler.
        REGISTER_FILTER_SERVER = 301,
        /// A constant without sender or handler.
        REGISTER_MESSAGE_FILTER_CLASS = 302,
        /// Store times of a group's backlog.
        QUERY_CONSUME_TIME_SPAN = 303,
        /// Names of clusters and brokers, which are topics too.
        GET_SYSTEM_TOPIC_LIST_FROM_NS = 304,
        /// Names of a broker's own topics.
        GET_SYSTEM_TOPIC_LIST_FROM_BROKER = 305,
        /// Delete consume queue files without messages.
        CLEAN_EXPIRED_CONSUMEQUEUE = 306,
        /// State of one consumer, relayed to it by the broker.
        GET_CONSUMER_RUNNING_INFO = 307,
        /// Lowest offsets of the groups of a topic.
        QUERY_CORRECTION_OFFSET = 308,
        /// Have one consumer consume one message, relayed to it by the broker.
        CONSUME_MESSAGE_DIRECTLY = 309,
        /// Send one message, short field names.
        SEND_MESSAGE_V2 = 310,
        /// Topics with the unit flag.
        GET_UNIT_TOPIC_LIST = 311,
        /// Topics with unit subscriptions.
        GET_HAS_UNIT_SUB_TOPIC_LIST = 312,
        /// Topics with unit subscriptions and without the unit flag.
        GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST = 313,
        /// Copy the offsets of one group to another.
        CLONE_GROUP_OFFSET = 314,
        /// One statistic of a broker over time.
        VIEW_BROKER_STATS_DATA = 315,
        /// Delete files of topics that no longer exist.
        CLEAN_UNUSED_TOPIC = 316,
        /// Progress of all groups on a broker.
        GET_BROKER_CONSUME_STATS = 317,
        /// Change settings of a running name server.
        UPDATE_NAMESRV_CONFIG = 318,
        /// The settings of a name server.
        GET_NAMESRV_CONFIG = 319,
        /// Send several messages as one.
        SEND_BATCH_MESSAGE = 320,
        /// Entries of a consume queue.
        QUERY_CONSUME_QUEUE = 321,
        /// Broker to name server: do you know this version of my topics?
        QUERY_DATA_VERSION = 322,
        /// Check a half message again that had been given up.
        RESUME_CHECK_HALF_MESSAGE = 323,
        /// Send the reply of a request, long field names.
        SEND_REPLY_MESSAGE = 324,
        /// Send the reply of a request, short field names.
        SEND_REPLY_MESSAGE_V2 = 325,
        /// Broker to producer: the reply of your request.
        PUSH_REPLY_MESSAGE_TO_CLIENT = 326,
        /// Make all queues of a broker writable in the routes.
        ADD_WRITE_PERM_OF_BROKER = 327,
        /// Live members of all producer groups.
        GET_ALL_PRODUCER_INFO = 328,
        /// Delete commit log files that are old enough.
        DELETE_EXPIRED_COMMITLOG = 329,
        /// Topics in which a group has offsets.
        QUERY_TOPICS_BY_CONSUMER = 343,
        /// A group's subscription of a topic.
        QUERY_SUBSCRIPTION_BY_CONSUMER = 345,
        /// Settings of one topic.
        GET_TOPIC_CONFIG = 351,
        /// Settings of one consumer group.
        GET_SUBSCRIPTIONGROUP_CONFIG = 352,
        /// May a group read a topic?
        UPDATE_AND_GET_GROUP_FORBIDDEN = 353,
        /// A RocksDB tool.
        CHECK_ROCKSDB_CQ_WRITE_PROGRESS = 354,
        /// A RocksDB tool.
        EXPORT_ROCKSDB_CONFIG_TO_JSON = 355,
        /// As `PULL_MESSAGE`, sent by lite pull consumers.
        LITE_PULL_MESSAGE = 361,
        /// Cancel a timer message.
        RECALL_MESSAGE = 370,
        /// Queues of one consumer, assigned by the broker.
        QUERY_ASSIGNMENT = 400,
        /// Switch a group and topic to POP or back.
        SET_MESSAGE_REQUEST_MODE = 401,
        /// All such switches, for replicas.
        GET_ALL_MESSAGE_REQUEST_MODE = 402,
        /// Create or change a static topic.
        UPDATE_AND_CREATE_STATIC_TOPIC = 513,
        /// Addresses of the brokers of one name.
        GET_BROKER_MEMBER_GROUP = 901,
        /// A controller's notification.
        ADD_BROKER = 902,
        /// A controller's notification.
        REMOVE_BROKER = 903,
        /// Broker to name server: I am still here.
        BROKER_HEARTBEAT = 904,
        /// Name server to broker: the first replica changed.
        NOTIFY_MIN_BROKER_ID_CHANGE = 905,
        /// Between replicas.
        EXCHANGE_BROKER_HA_INFO = 906,
        /// State of replication.
        GET_BROKER_HA_STATUS = 907,
        /// Between replicas.
        RESET_MASTER_FLUSH_OFFSET = 908,
        /// A controller's request.
        CONTROLLER_ALTER_SYNC_STATE_SET = 1001,
        /// A controller's request.
        CONTROLLER_ELECT_MASTER = 1002,
        /// A controller's request.
        CONTROLLER_REGISTER_BROKER = 1003,
        /// A controller's request.
        CONTROLLER_GET_REPLICA_INFO = 1004,
        /// A controller's request.
        CONTROLLER_GET_METADATA_INFO = 1005,
        /// A controller's request.
        CONTROLLER_GET_SYNC_STATE_DATA = 1006,
        /// A controller's request.
        GET_BROKER_EPOCH_CACHE = 1007,
        /// A controller's request.
        NOTIFY_BROKER_ROLE_CHANGED = 1008,
        /// A controller's request.
        UPDATE_CONTROLLER_CONFIG = 1009,
        /// A controller's request.
        GET_CONTROLLER_CONFIG = 1010,
        /// A controller's request.
        CLEAN_BROKER_DATA = 1011,
        /// A controller's request.
        CONTROLLER_GET_NEXT_BROKER_ID = 1012,
        /// A controller's request.
        CONTROLLER_APPLY_BROKER_ID = 1013,
        /// Limits for reading old messages.
        UPDATE_COLD_DATA_FLOW_CTR_CONFIG = 2001,
        /// Limits for reading old messages.
        REMOVE_COLD_DATA_FLOW_CTR_CONFIG = 2002,
        /// Limits for reading old messages.
        GET_COLD_DATA_FLOW_CTR_INFO = 2003,
        /// How the commit log is read ahead.
        SET_COMMITLOG_READ_MODE = 2004,
        /// Create a user.
        AUTH_CREATE_USER = 3001,
        /// Change a user.
        AUTH_UPDATE_USER = 3002,
        /// Delete a user.
        AUTH_DELETE_USER = 3003,
        /// One user.
        AUTH_GET_USER = 3004,
        /// All users.
        AUTH_LIST_USER = 3005,
        /// Create the access rules of a user.
        AUTH_CREATE_ACL = 3006,
        /// Change the access rules of a user.
        AUTH_UPDATE_ACL = 3007,
        /// Delete the access rules of a user.
        AUTH_DELETE_ACL = 3008,
        /// The access rules of a user.
        AUTH_GET_ACL = 3009,
        /// All access rules.
        AUTH_LIST_ACL = 3010,
        /// Where timer messages wait.
        SWITCH_TIMER_ENGINE = 5001,
        /// Take messages of any queue for a time.
        POP_MESSAGE = 200_050,
        /// A popped message is done.
        ACK_MESSAGE = 200_051,
        /// Look at messages without taking them.
        PEEK_MESSAGE = 200_052,
        /// A popped message is kept longer, or given back.
        CHANGE_MESSAGE_INVISIBLETIME = 200_053,
        /// Wait until there are messages to pop.
        NOTIFICATION = 200_054,
        /// Number of waiting pops.
        POLLING_INFO = 200_055,
        /// From the KV revive mode back to the file mode.
        POP_ROLLBACK = 200_056,
        /// Take messages of lite topics.
        POP_LITE_MESSAGE = 200_070,
        /// Change subscriptions of lite topics.
        LITE_SUBSCRIPTION_CTL = 200_071,
        /// Broker to consumer: a lite subscription ended.
        NOTIFY_UNSUBSCRIBE_LITE = 200_073,
        /// Lite topics of a broker.
        GET_BROKER_LITE_INFO = 200_074,
        /// Lite topics of a topic.
        GET_PARENT_TOPIC_INFO = 200_075,
        /// One lite topic.
        GET_LITE_TOPIC_INFO = 200_076,
        /// Lite subscriptions of one client.
        GET_LITE_CLIENT_INFO = 200_077,
        /// Lite subscriptions of one group.
        GET_LITE_GROUP_INFO = 200_078,
        /// Deliver lite messages again.
        TRIGGER_LITE_DISPATCH = 200_079,
        /// Several popped messages are done.
        BATCH_ACK_MESSAGE = 200_151,
    }
}

codes! {
    /// How a request ended. Java: `ResponseCode`, `RemotingSysResponseCode`.
    ResponseCode {
        /// Done.
        SUCCESS = 0,
        /// Any failure without a code of its own.
        SYSTEM_ERROR = 1,
        /// Flow control: try another broker, or later.
        SYSTEM_BUSY = 2,
        /// The server does not know the request code.
        REQUEST_CODE_NOT_SUPPORTED = 3,
        /// Not produced by Java's broker.
        TRANSACTION_FAILED = 4,
        /// A send: stored, but not yet on disk in the time allowed.
        FLUSH_DISK_TIMEOUT = 10,
        /// A send: stored, but there is no replica.
        SLAVE_NOT_AVAILABLE = 11,
        /// A send: stored, but no replica has it in the time allowed.
        FLUSH_SLAVE_TIMEOUT = 12,
        /// A message that breaks a limit.
        MESSAGE_ILLEGAL = 13,
        /// The store is shut down or the disk is full.
        SERVICE_NOT_AVAILABLE = 14,
        /// The peer's version is too old.
        VERSION_NOT_SUPPORTED = 15,
        /// Forbidden by topic, broker, group or access rules.
        NO_PERMISSION = 16,
        /// No such topic, or no route of it.
        TOPIC_NOT_EXIST = 17,
        /// The topic is already there.
        TOPIC_EXIST_ALREADY = 18,
        /// A pull: nothing new.
        PULL_NOT_FOUND = 19,
        /// A pull: there were messages, but none that matched.
        PULL_RETRY_IMMEDIATELY = 20,
        /// A pull: the offset is not valid, go on at `nextBeginOffset`.
        PULL_OFFSET_MOVED = 21,
        /// No offset, message or value of that name.
        QUERY_NOT_FOUND = 22,
        /// A bad tag or SQL expression.
        SUBSCRIPTION_PARSE_FAILED = 23,
        /// The group has not subscribed to the topic: a heartbeat is missing.
        SUBSCRIPTION_NOT_EXIST = 24,
        /// The broker's view of the subscription is older than the client's.
        SUBSCRIPTION_NOT_LATEST = 25,
        /// No such consumer group.
        SUBSCRIPTION_GROUP_NOT_EXIST = 26,
        /// SQL filter data is missing.
        FILTER_DATA_NOT_EXIST = 27,
        /// SQL filter data is old.
        FILTER_DATA_NOT_LATEST = 28,
        /// A field of the request is wrong.
        INVALID_PARAMETER = 29,
        /// Not produced by Java's broker.
        TRANSACTION_SHOULD_COMMIT = 200,
        /// Not produced by Java's broker.
        TRANSACTION_SHOULD_ROLLBACK = 201,
        /// Not produced by Java's broker.
        TRANSACTION_STATE_UNKNOW = 202,
        /// Not produced by Java's broker.
        TRANSACTION_STATE_GROUP_WRONG = 203,
        /// Not produced by Java's broker.
        NO_BUYER_ID = 204,
        /// Not produced by Java's broker.
        NOT_IN_CURRENT_UNIT = 205,
        /// The group has no live member.
        CONSUMER_NOT_ONLINE = 206,
        /// The consumer did not answer in time.
        CONSUME_MSG_TIMEOUT = 207,
        /// No message at that offset.
        NO_MESSAGE = 208,
        /// A pop: too many are waiting already.
        POLLING_FULL = 209,
        /// A pop: nothing came in the time allowed.
        POLLING_TIMEOUT = 210,
        /// Not produced by Java's name server or broker.
        BROKER_NOT_EXIST = 211,
        /// The broker is still reading its log.
        BROKER_DISPATCH_NOT_COMPLETE = 212,
        /// The group is broadcasting.
        BROADCAST_CONSUMPTION = 213,
        /// Consumers wait before the next request.
        FLOW_CONTROL = 215,
        /// A static topic's queue has moved.
        NOT_LEADER_FOR_QUEUE = 501,
        /// What was asked for makes no sense in this state.
        ILLEGAL_OPERATION = 604,
        /// The server is stopping: connect again and repeat the request.
        GO_AWAY = 1500,
        /// A controller's answer.
        CONTROLLER_FENCED_MASTER_EPOCH = 2000,
        /// A controller's answer.
        CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH = 2001,
        /// A controller's answer.
        CONTROLLER_INVALID_MASTER = 2002,
        /// A controller's answer.
        CONTROLLER_INVALID_REPLICAS = 2003,
        /// A controller's answer.
        CONTROLLER_MASTER_NOT_AVAILABLE = 2004,
        /// A controller's answer.
        CONTROLLER_INVALID_REQUEST = 2005,
        /// A controller's answer.
        CONTROLLER_BROKER_NOT_ALIVE = 2006,
        /// A controller's answer.
        CONTROLLER_NOT_LEADER = 2007,
        /// A controller's answer.
        CONTROLLER_BROKER_METADATA_NOT_EXIST = 2008,
        /// A controller's answer.
        CONTROLLER_INVALID_CLEAN_BROKER_METADATA = 2009,
        /// A controller's answer.
        CONTROLLER_BROKER_NEED_TO_BE_REGISTERED = 2010,
        /// A controller's answer.
        CONTROLLER_MASTER_STILL_EXIST = 2011,
        /// A controller's answer.
        CONTROLLER_ELECT_MASTER_FAILED = 2012,
        /// A controller's answer.
        CONTROLLER_ALTER_SYNC_STATE_SET_FAILED = 2013,
        /// A controller's answer.
        CONTROLLER_BROKER_ID_INVALID = 2014,
        /// A controller's answer.
        CONTROLLER_JRAFT_INTERNAL_ERROR = 2015,
        /// A controller's answer.
        CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS = 2016,
        /// Too many lite message queues.
        LMQ_QUOTA_EXCEEDED = 2017,
        /// Too many lite subscriptions.
        LITE_SUBSCRIPTION_QUOTA_EXCEEDED = 2018,
        /// No such user.
        USER_NOT_EXIST = 3001,
        /// No such access rule.
        POLICY_NOT_EXIST = 3002,
        /// Local to Java's broker, never sent.
        RPC_UNKNOWN = -1000,
        /// Local to Java's broker, never sent.
        RPC_ADDR_IS_NULL = -1002,
        /// Local to Java's broker, never sent.
        RPC_SEND_TO_CHANNEL_FAILED = -1004,
        /// Local to Java's broker, never sent.
        RPC_TIME_OUT = -1006,
    }
}

macro_rules! languages {
    ($($name:ident = $value:literal),* $(,)?) => {
        impl Language {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: Self = Self($value);
            )*

            /// Java's name of the constant; `None` for a language this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The language of that name, in any letter case; `None` for a name this version does not know.
            pub fn from_name(name: &str) -> Option<Self> {
                [$(Self::$name),*]
                    .into_iter()
                    .find(|language| language.name().is_some_and(|known| known.eq_ignore_ascii_case(name)))
            }
        }
    };
}

/// The sender's programming language, by the byte of the binary header. Brokers before 4.9.4 do not know `RUST`: clients
/// of such call themselves `OTHER`. Java: `LanguageCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

languages! {
    JAVA = 0,
    CPP = 1,
    DOTNET = 2,
    PYTHON = 3,
    DELPHI = 4,
    ERLANG = 5,
    RUBY = 6,
    OTHER = 7,
    HTTP = 8,
    GO = 9,
    PHP = 10,
    OMS = 11,
    RUST = 12,
    NODE_JS = 13,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_with_their_names_and_unknown_ones_without() {
        assert_eq!(RequestCode::POP_MESSAGE.to_string(), "200050 POP_MESSAGE");
        assert_eq!(RequestCode(9999).to_string(), "9999");
        assert_eq!(format!("{:?}", ResponseCode(-1006)), "-1006 RPC_TIME_OUT");
    }

    #[test]
    fn languages_are_found_by_name() {
        assert_eq!(Language::from_name("rust"), Some(Language::RUST));
        assert_eq!(Language::from_name("KLINGON"), None);
        assert_eq!(Language(77).name(), None);
    }
}
