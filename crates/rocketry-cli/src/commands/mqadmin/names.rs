//! Commands of Apache RocketMQ 5.5.0's `mqadmin`, their flags, and what they are here. Java: `org.apache.rocketmq.tools.command`.

/// A command of `mqadmin`.
pub(super) struct Old {
    pub(super) name: &'static str,
    /// Our command.
    pub(super) words: &'static [&'static str],
    /// Options that make our command do what the old one did.
    pub(super) more: &'static [&'static str],
    /// What stands between the arguments without a name, if they become one.
    pub(super) joined_by: Option<&'static str>,
    /// Those that become arguments without a name are in our order; before them is [`NAME_SERVERS`].
    pub(super) flags: &'static [Flag],
}

/// A flag of such a command.
pub(super) struct Flag {
    pub(super) short: &'static str,
    pub(super) long: &'static str,
    pub(super) is_required: bool,
    /// One of the flags that are marked so must be given.
    pub(super) is_place: bool,
    /// It has no value.
    pub(super) is_switch: bool,
    /// The value that the old command took without it, where ours would take another one.
    pub(super) default: Option<&'static str>,
    pub(super) becomes: Becomes,
}

/// What becomes of a flag.
pub(super) enum Becomes {
    /// An argument without a name.
    Place,
    /// Several arguments without a name, which the sign separates.
    Places(char),
    /// An option with the same value.
    Option(&'static str),
    /// An option with another way to write the value.
    Converted(&'static str, fn(&str) -> Result<String, String>),
    /// Several words, described by the first field.
    Words(&'static str, fn(&str) -> Result<Vec<String>, String>),
    /// Nothing, and why.
    Nothing(&'static str),
}

impl Flag {
    const fn new(short: &'static str, long: &'static str, becomes: Becomes) -> Self {
        Self {
            short,
            long,
            is_required: false,
            is_place: false,
            is_switch: false,
            default: None,
            becomes,
        }
    }

    const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    const fn place(self) -> Self {
        Self {
            is_place: true,
            ..self
        }
    }

    const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    const fn switch(self) -> Self {
        Self {
            is_switch: true,
            ..self
        }
    }

    /// Whether `name` is `-t` or `--topic`; one hyphen will do for the long one, as in Java.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix('-') else {
            return false;
        };
        let long = name.strip_prefix('-').unwrap_or(name);
        name == self.short || long == self.long
    }
}

/// Every command has it.
pub(super) const NAME_SERVERS: Flag = Flag::new("n", "namesrvAddr", Becomes::Option("--namesrv"));

const TOPIC: Flag = Flag::new("t", "topic", Becomes::Place).required();
const MESSAGE_ID: Flag = Flag::new("i", "msgId", Becomes::Place).required();
// No old command changes every cluster for want of a flag.
const CLUSTER: Flag = Flag::new("c", "clusterName", Becomes::Option("--cluster")).place();
const BROKER: Flag = Flag::new("b", "brokerAddr", Becomes::Option("--broker")).place();
const PERM: Flag = Flag::new("p", "perm", Becomes::Converted("--perm", perm));
const ALL_BROKERS: &str = "all brokers are asked";
const LMQ: Flag = Flag::new("c", "cluster", Becomes::Nothing(ALL_BROKERS));
const NO_UNITS: &str = "there are no units here";
const RESET_CLUSTER: Flag = Flag::new(
    "c",
    "cluster",
    Becomes::Nothing("the brokers of the topic are told"),
);
const FORCE: Flag = Flag::new(
    "f",
    "force",
    Becomes::Nothing("offsets move back and forth alike"),
);

/// All that are known, in the order of their names whatever the case.
pub(super) const NAMES: &[Old] = &[
    Old {
        name: "brokerStatus",
        words: &["broker", "status"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("b", "brokerAddr", Becomes::Place),
            Flag::new(
                "c",
                "clusterName",
                Becomes::Nothing("all brokers are shown"),
            ),
        ],
    },
    Old {
        name: "checkMsgSendRT",
        words: &["bench", "produce"],
        more: &["--mode=sync", "--concurrency=1", "--warmup=0"],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new("a", "amount", Becomes::Option("--count")).or("100"),
            Flag::new("s", "size", Becomes::Option("--size")).or("128"),
        ],
    },
    Old {
        name: "clusterList",
        words: &["cluster", "list"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new(
                "c",
                "clusterName",
                Becomes::Nothing("all clusters are listed"),
            ),
            Flag::new("i", "interval", Becomes::Nothing("it is listed once")),
            Flag::new("m", "moreStats", Becomes::Nothing("see broker status")).switch(),
        ],
    },
    Old {
        name: "consumeMessage",
        words: &["consume"],
        more: &["--wait=0s"],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new("c", "MessageNumber", Becomes::Option("--count")).or("128"),
            Flag::new("g", "consumerGroup", Becomes::Option("--group")),
            Flag::new("o", "offset", Becomes::Converted("--from", from_offset)),
            Flag::new(
                "s",
                "beginTimestamp",
                Becomes::Converted("--from", from_time),
            ),
        ],
    },
    Old {
        name: "consumerConnection",
        words: &["group", "clients"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("g", "consumerGroup", Becomes::Place).required(),
            Flag::new("b", "brokerAddr", Becomes::Nothing(ALL_BROKERS)),
        ],
    },
    Old {
        name: "consumerProgress",
        words: &["group", "progress"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("g", "groupName", Becomes::Place),
            Flag::new("t", "topicName", Becomes::Option("--topic")),
            Flag::new("s", "showClientIP", Becomes::Nothing("see group clients")),
            LMQ,
        ],
    },
    Old {
        name: "copyAcl",
        words: &["acl", "copy"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("f", "fromBroker", Becomes::Option("--from")).required(),
            Flag::new("t", "toBroker", Becomes::Option("--to")).required(),
            Flag::new("s", "subjects", Becomes::Places(',')),
        ],
    },
    Old {
        name: "copyUser",
        words: &["user", "copy"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("f", "fromBroker", Becomes::Option("--from")).required(),
            Flag::new("t", "toBroker", Becomes::Option("--to")).required(),
            Flag::new("u", "usernames", Becomes::Places(',')),
        ],
    },
    Old {
        name: "createAcl",
        words: &["acl", "create"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("s", "subject", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("r", "resources", Becomes::Option("--resource")).required(),
            Flag::new("a", "actions", Becomes::Option("--actions")).required(),
            Flag::new("i", "sourceIp", Becomes::Option("--source")),
            Flag::new("d", "decision", Becomes::Words("--deny for Deny", decision)).required(),
        ],
    },
    Old {
        name: "createUser",
        words: &["user", "create"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("u", "username", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("p", "password", Becomes::Option("--password")).required(),
            Flag::new("t", "userType", Becomes::Option("--type")),
        ],
    },
    Old {
        name: "deleteAcl",
        words: &["acl", "delete"],
        more: &["--yes"],
        joined_by: None,
        flags: &[
            Flag::new("s", "subject", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("r", "resources", Becomes::Option("--resource")),
        ],
    },
    Old {
        name: "deleteSubGroup",
        words: &["group", "delete"],
        more: &["--yes"],
        joined_by: None,
        flags: &[
            Flag::new("g", "groupName", Becomes::Place).required(),
            CLUSTER,
            Flag::new(
                "r",
                "removeOffset",
                Becomes::Words("--keep-offsets unless true", keep_offsets),
            )
            .or("false"),
        ],
    },
    Old {
        name: "deleteTopic",
        words: &["topic", "delete"],
        more: &["--yes"],
        joined_by: None,
        flags: &[TOPIC, CLUSTER],
    },
    Old {
        name: "deleteUser",
        words: &["user", "delete"],
        more: &["--yes"],
        joined_by: None,
        flags: &[
            Flag::new("u", "username", Becomes::Place).required(),
            BROKER,
            CLUSTER,
        ],
    },
    Old {
        name: "getAcl",
        words: &["acl", "get"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("s", "subject", Becomes::Place).required(),
            BROKER,
            CLUSTER,
        ],
    },
    Old {
        name: "getBrokerConfig",
        words: &["broker", "config"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("b", "brokerAddr", Becomes::Place),
            Flag::new(
                "c",
                "clusterName",
                Becomes::Nothing("all brokers are shown"),
            ),
        ],
    },
    Old {
        name: "getUser",
        words: &["user", "get"],
        more: &["--show-password"],
        joined_by: None,
        flags: &[
            Flag::new("u", "username", Becomes::Place).required(),
            BROKER,
            CLUSTER,
        ],
    },
    Old {
        name: "listAcl",
        words: &["acl", "list"],
        more: &[],
        joined_by: None,
        flags: &[
            BROKER,
            CLUSTER,
            Flag::new("s", "subject", Becomes::Option("--user")),
            Flag::new("r", "resource", Becomes::Option("--resource")),
        ],
    },
    Old {
        name: "listUser",
        words: &["user", "list"],
        more: &["--show-password"],
        joined_by: None,
        flags: &[
            BROKER,
            CLUSTER,
            Flag::new("f", "filter", Becomes::Option("--filter")),
        ],
    },
    Old {
        name: "printMsg",
        words: &["consume"],
        more: &["--wait=0s"],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new(
                "b",
                "beginTimestamp",
                Becomes::Converted("--from", from_time),
            ),
            Flag::new(
                "c",
                "charsetName",
                Becomes::Nothing("bodies are UTF-8, or escaped"),
            ),
            Flag::new("d", "printBody", Becomes::Nothing("bodies are printed")),
        ],
    },
    Old {
        name: "producerConnection",
        words: &["group", "clients"],
        more: &["--producers"],
        joined_by: None,
        flags: &[
            Flag::new("g", "producerGroup", Becomes::Place).required(),
            Flag::new("t", "topic", Becomes::Nothing(ALL_BROKERS)),
        ],
    },
    Old {
        name: "queryMsgById",
        words: &["message", "view"],
        more: &[],
        joined_by: None,
        flags: &[TOPIC, MESSAGE_ID, LMQ],
    },
    Old {
        name: "queryMsgByKey",
        words: &["message", "query"],
        more: &[],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new("k", "msgKey", Becomes::Place).required(),
            Flag::new("m", "maxNum", Becomes::Option("--max")).or("64"),
            Flag::new("b", "beginTimestamp", Becomes::Option("--from")),
            Flag::new("e", "endTimestamp", Becomes::Option("--until")),
            LMQ,
        ],
    },
    Old {
        name: "queryMsgByUniqueKey",
        words: &["message", "view"],
        more: &[],
        joined_by: None,
        flags: &[TOPIC, MESSAGE_ID, LMQ],
    },
    Old {
        name: "resetOffsetByTime",
        words: &["group", "reset"],
        more: &["--yes"],
        joined_by: None,
        flags: &[
            Flag::new("g", "group", Becomes::Place).required(),
            Flag::new("t", "topic", Becomes::Option("--topic")).required(),
            Flag::new("s", "timestamp", Becomes::Converted("--to", reset_to)).required(),
            FORCE,
            RESET_CLUSTER,
        ],
    },
    Old {
        name: "sendMessage",
        words: &["send"],
        more: &[],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new("p", "body", Becomes::Place).required(),
            Flag::new("k", "key", Becomes::Option("--key")),
            Flag::new("c", "tags", Becomes::Option("--tag")),
        ],
    },
    Old {
        name: "skipAccumulatedMessage",
        words: &["group", "reset"],
        more: &["--to=last", "--yes"],
        joined_by: None,
        flags: &[
            Flag::new("g", "group", Becomes::Place).required(),
            Flag::new("t", "topic", Becomes::Option("--topic")).required(),
            FORCE,
            RESET_CLUSTER,
        ],
    },
    Old {
        name: "topicClusterList",
        words: &["topic", "route"],
        more: &[],
        joined_by: None,
        flags: &[TOPIC],
    },
    Old {
        name: "topicList",
        words: &["topic", "list"],
        more: &["--all"],
        joined_by: None,
        flags: &[Flag::new(
            "c",
            "clusterModel",
            Becomes::Nothing("see topic route and topic groups"),
        )
        .switch()],
    },
    Old {
        name: "topicRoute",
        words: &["topic", "route"],
        more: &[],
        joined_by: None,
        flags: &[
            TOPIC,
            Flag::new("l", "list", Becomes::Nothing("it is a table already")).switch(),
        ],
    },
    Old {
        name: "topicStatus",
        words: &["topic", "stats"],
        more: &[],
        joined_by: None,
        flags: &[TOPIC, LMQ],
    },
    Old {
        name: "updateAcl",
        words: &["acl", "update"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("s", "subject", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("r", "resources", Becomes::Option("--resource")).required(),
            Flag::new("a", "actions", Becomes::Option("--actions")).required(),
            Flag::new("i", "sourceIp", Becomes::Option("--source")),
            Flag::new("d", "decision", Becomes::Words("--deny for Deny", decision)).required(),
        ],
    },
    Old {
        name: "updateBrokerConfig",
        words: &["broker", "set"],
        more: &[],
        joined_by: Some("="),
        flags: &[
            Flag::new("k", "key", Becomes::Place).required(),
            Flag::new("v", "value", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new(
                "a",
                "updateAllBroker",
                Becomes::Nothing("replicas are set as well"),
            ),
        ],
    },
    Old {
        name: "updateSubGroup",
        words: &["group", "create"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("g", "groupName", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("r", "retryMaxTimes", Becomes::Option("--retries")),
            Flag::new("q", "retryQueueNums", Becomes::Option("--retry-queues")),
            Flag::new("s", "consumeEnable", Becomes::Option("--consume")),
            Flag::new(
                "d",
                "consumeBroadcastEnable",
                Becomes::Option("--broadcast"),
            ),
            Flag::new("o", "consumeMessageOrderly", Becomes::Option("--order")),
            Flag::new(
                "attributes",
                "attributes",
                Becomes::Words("--attribute K=V", attributes),
            ),
        ],
    },
    Old {
        name: "updateTopic",
        words: &["topic", "create"],
        more: &[],
        joined_by: None,
        flags: &[
            TOPIC,
            BROKER,
            CLUSTER,
            Flag::new("r", "readQueueNums", Becomes::Option("--read-queues")),
            Flag::new("w", "writeQueueNums", Becomes::Option("--write-queues")),
            PERM,
            Flag::new("o", "order", Becomes::Option("--order")),
            Flag::new(
                "a",
                "attributes",
                Becomes::Words("--attribute K=V", attributes),
            ),
            Flag::new("u", "unit", Becomes::Nothing(NO_UNITS)),
            Flag::new("s", "hasUnitSub", Becomes::Nothing(NO_UNITS)),
        ],
    },
    Old {
        name: "updateTopicPerm",
        words: &["topic", "update"],
        more: &[],
        joined_by: None,
        flags: &[TOPIC, BROKER, CLUSTER, PERM.required()],
    },
    Old {
        name: "updateUser",
        words: &["user", "update"],
        more: &[],
        joined_by: None,
        flags: &[
            Flag::new("u", "username", Becomes::Place).required(),
            BROKER,
            CLUSTER,
            Flag::new("p", "password", Becomes::Option("--password")),
            Flag::new("t", "userType", Becomes::Option("--type")),
            Flag::new("s", "userStatus", Becomes::Option("--status")),
        ],
    },
];

fn decision(text: &str) -> Result<Vec<String>, String> {
    match text {
        _ if text.eq_ignore_ascii_case("Allow") => Ok(Vec::new()),
        _ if text.eq_ignore_ascii_case("Deny") => Ok(vec!["--deny".to_owned()]),
        _ => Err("write Allow or Deny".to_owned()),
    }
}

fn perm(text: &str) -> Result<String, String> {
    match text {
        "2" => Ok("w".to_owned()),
        "4" => Ok("r".to_owned()),
        "6" => Ok("rw".to_owned()),
        _ => Err("write 2 (write), 4 (read) or 6 (both)".to_owned()),
    }
}

/// `+key=value,+key=value`
fn attributes(text: &str) -> Result<Vec<String>, String> {
    let one = |change: &str| match change.trim().strip_prefix('+') {
        Some(added) => Ok(format!("--attribute={added}")),
        None => Err(format!("{change} is not +key=value")),
    };
    text.split(',').map(one).collect()
}

fn keep_offsets(text: &str) -> Result<Vec<String>, String> {
    match text {
        "true" => Ok(Vec::new()),
        "false" => Ok(vec!["--keep-offsets".to_owned()]),
        _ => Err("write true or false".to_owned()),
    }
}

fn from_offset(text: &str) -> Result<String, String> {
    match text.parse::<i64>() {
        Ok(offset) => Ok(format!("offset:{offset}")),
        Err(_) => Err("write a number".to_owned()),
    }
}

fn from_time(text: &str) -> Result<String, String> {
    Ok(format!("time:{}", time(text)?))
}

fn reset_to(text: &str) -> Result<String, String> {
    match text {
        "now" | "-1" => Ok("last".to_owned()),
        _ => Ok(format!("time:{}", time(text)?)),
    }
}

/// ms since 1970, or `yyyy-MM-dd#HH:mm:ss:SSS` as local time. Java: `UtilAll.parseDate`.
fn time(text: &str) -> Result<String, String> {
    if text.parse::<i64>().is_ok() {
        return Ok(text.to_owned());
    }
    let parsed = text.split_once('#').and_then(|(day, clock)| {
        let (seconds, ms) = clock.rsplit_once(':')?;
        (ms.len() == 3).then(|| format!("{day} {seconds}.{ms}"))
    });
    parsed.ok_or_else(|| "write ms since 1970, or yyyy-MM-dd#HH:mm:ss:SSS".to_owned())
}
