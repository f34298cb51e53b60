//! Differences that are known, each with its reason. `cargo xtask compat` shows them in docs/compatibility.md; a difference that is not
//! listed fails the case, and so does a line that nothing needs any more.

use super::reply::Difference;

/// One kind of difference. In all patterns `*` stands for any text.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Steps by name.
    pub(crate) step: &'static str,
    /// `code`, `remark`, `field NAME`, `body PATH`, `message N NAME`.
    pub(crate) aspect: &'static str,
    /// What ours says; `-` = nothing.
    pub(crate) ours: &'static str,
    /// What Apache's says; `-` = nothing.
    pub(crate) theirs: &'static str,
    pub(crate) reason: &'static str,
    /// Chance decides whether it is there.
    pub(crate) at_times: bool,
}

const fn known(
    step: &'static str,
    aspect: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Accepted {
    Accepted {
        step,
        aspect,
        ours,
        theirs,
        reason,
        at_times: false,
    }
}

/// As `known`, where chance decides.
const fn at_times(
    step: &'static str,
    aspect: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Accepted {
    Accepted {
        at_times: true,
        ..known(step, aspect, ours, theirs, reason)
    }
}

pub(crate) const ACCEPTED: [Accepted; 39] = [
    known(
        "* without *",
        "code|remark",
        "1 the custom field <*> is null|the custom field <*> is null",
        "*",
        "a field that is needed is named; Java goes on with null or 0 until something fails",
    ),
    known(
        "*=x|*=|*=nobody|*=99999999999999999999",
        "code|remark",
        "1 header field *|header field *",
        "*",
        "a field that is not a number is named; Java takes it for 0 or null, or fails",
    ),
    known(
        "* without body|ns-config-empty",
        "code|remark",
        "1 the request has no body|the request has no body",
        "*",
        "a body that is needed is asked for",
    ),
    known(
        "*",
        "remark",
        "*",
        "(exception)",
        "Java writes what its exception says of Java",
    ),
    known(
        "* body=[]|* body={",
        "remark",
        "JSON body: *",
        "*",
        "the text says where the body is broken",
    ),
    known(
        "* body={}|subscription without topic|query-consume-queue without topic|all-topic-config without topicSeq|all-group-config without groupSeq|*=-2",
        "code",
        "0*|17 *|22 *|210 *",
        "1 (exception)",
        "Java fails at what is missing or negative; here it is empty, or the least",
    ),
    known(
        "send-no-body|send-batch-empty|send-spoiled-* without body|reply without body",
        "code",
        "13 *",
        "1 (exception)",
        "the code says what is wrong, and that trying again is of no use",
    ),
    known(
        "send-batch-garbage",
        "code",
        "13 *",
        "1 (exception)",
        "the code says what is wrong, and that trying again is of no use",
    ),
    known(
        "send-level-bad",
        "remark|code",
        "*",
        "*(exception)",
        "named instead",
    ),
    known(
        "create-bad-type|create-odd-attribute|create-spoiled attributes=nobody|create-spoiled topicFilterType=*",
        "remark",
        "*",
        "*",
        "other words",
    ),
    known(
        "ns-config",
        "body *",
        "-",
        "",
        "settings of Java's name server that have no counterpart",
    ),
    known(
        "kv-put without *",
        "remark",
        "*",
        "namespace or key is null",
        "the field is named",
    ),
    known(
        "route-of-deleted",
        "code",
        "17 *",
        "0",
        "a topic that its broker deleted has no route; Java's name server keeps it until it is told",
    ),
    known(
        "send-half-delayed",
        "field queueOffset",
        "1",
        "0",
        "Java delays the half message, which no client asks for: clients drop the level",
    ),
    known(
        "check-client-bad-sql|pop-* expType=nobody|pop-bad-sql",
        "remark",
        "*",
        "*",
        "the text says where the condition is wrong",
    ),
    known(
        "pull expressionType=nobody|pull-type-unknown|pull-sql-bad",
        "code",
        "23 *",
        "0 FOUND",
        "Java returns every message when it does not understand the condition",
    ),
    known(
        "pull-bad-queue|pull queueId=-2|ack*|change-invisible*|pop-bad-queue",
        "remark",
        "queueId[*",
        "queueId[*",
        "the group is named, not the address",
    ),
    known(
        "pull-empty-queue*|pull topic=nobody",
        "remark",
        "NO_MATCHED_LOGIC_QUEUE",
        "NO_MESSAGE_IN_QUEUE",
        "a queue is made by its first message; Java makes it by looking",
    ),
    at_times(
        "correction*",
        "body .correctionOffsets.*",
        "*",
        "*",
        "Java's broker keeps offsets of broadcasting groups for an hour, for proxies",
    ),
    known(
        "broker-consume-stats",
        "body *pullOffset|body .totalInflightDiff",
        "*",
        "*",
        "Java leaves the pulled offset 0 here, so that less than nothing is under way",
    ),
    at_times(
        "broker-consume-stats*",
        "body *RMQ_SYS_TRANS*|body .totalDiff",
        "*",
        "*",
        "Java's broker reads half messages as a group",
    ),
    at_times(
        "assignment-pull*",
        "body .messageQueueAssignments*",
        "*",
        "*",
        "the order is that of a hash set",
    ),
    known(
        "pop|pop-*|change-invisible*",
        "field invisibleTime|field popTime|field restNum|field reviveQid",
        "-",
        "*",
        "a pop that takes nothing has no place",
    ),
    known(
        "pop-empty*",
        "field invisibleTime",
        "0",
        "*",
        "a pop that takes nothing has no time",
    ),
    known(
        "notification *|polling-info *",
        "field hasMsg|field pollingFull|field pollingNum",
        "-",
        "false|0",
        "a refused request says nothing of messages",
    ),
    known(
        "notification bornTime=-2",
        "code",
        "210 *",
        "0",
        "as a pop, it came too late",
    ),
    known(
        "ack*|change-invisible offset=-2",
        "remark",
        "offset is illegal, key:*, commit:-1, *",
        "*",
        "what is called committed is the committed offset",
    ),
    known(
        "batch-ack*",
        "remark|code",
        "*the batch is empty",
        "*",
        "said",
    ),
    known(
        "runtime-info",
        "body .table.commitLogDiskRatio_*|body .table.scheduleMessageOffset_*",
        "*",
        "*",
        "directories of each side; Java counts what a consumer sent back as a level's first",
    ),
    known(
        "config-update-bad",
        "code",
        "1 brokerPermission cannot be \"x\"",
        "0",
        "a value that is refused is told",
    ),
    at_times(
        "consumer-offsets|delay-offsets",
        "body *",
        "*",
        "*",
        "for replicas, which this server does not have",
    ),
    known(
        "send-spoiled-* *|send-spoiled-v*",
        "field queueOffset",
        "*",
        "*",
        "one more or less of the spoiled messages was taken",
    ),
    at_times(
        "send-spoiled-* *=-2",
        "field queueId",
        "*",
        "*",
        "the broker chose a queue",
    ),
    known(
        "reply *",
        "field queueOffset",
        "*",
        "*",
        "one more or less of the spoiled replies was stored",
    ),
    known(
        "reply without f",
        "field msgId|field queueId|field queueOffset",
        "-",
        "*",
        "a field that is needed is named, and nothing stored",
    ),
    known(
        "pop-empty invisibleTime=-2|change-invisible invisibleTime=-2",
        "code",
        "29 *",
        "*",
        "a time that makes no sense is refused",
    ),
    known(
        "send-spoiled-v1 topic=nobody",
        "remark",
        "*",
        "*",
        "the attributes of a topic are printed in other ways",
    ),
    known(
        "*",
        "field MSG_REGION|field TRACE_ON",
        "DefaultRegion|true",
        "-",
        "every answer to a send has them",
    ),
    known(
        "consume-directly without clientId|running-info without clientId",
        "remark",
        "*<> not online",
        "*<null> not online",
        "other words",
    ),
];

impl Accepted {
    pub(super) fn covers(&self, difference: &Difference) -> bool {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        matches(self.step, &difference.step)
            && matches(self.aspect, &difference.aspect)
            && matches(self.ours, &side(&difference.ours))
            && matches(self.theirs, &side(&difference.theirs))
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text and `|` separates alternatives.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|pattern| one_matches(pattern, text))
}

fn one_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, is) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("x|a*|y", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn every_known_difference_has_a_reason_for_a_table() {
        for known in &ACCEPTED {
            assert!(!known.reason.is_empty(), "{known:?}");
        }
    }
}
