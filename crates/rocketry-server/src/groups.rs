//! Which consumer groups there are from the start, and how others come to be. The table and its file are the store's.
//!
//! Java: `SubscriptionGroupManager`.

use std::sync::Arc;

use rocketry_protocol::body::groups::SubscriptionGroupConfig;
use rocketry_store::metadata::Groups;

use crate::{
    names::{SYSTEM_GROUPS, check_group},
    topics::MAX_QUEUES,
};

/// The read bit of the forbidden table, the only one in use.
pub(crate) const FORBIDDEN_READ: i32 = 1 << 2;

/// A group found, or made by the call.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) config: Arc<SubscriptionGroupConfig>,
    pub(crate) is_new: bool,
}

/// Adds the groups that every broker has.
pub(crate) fn add_predefined(groups: &Groups, now_ms: i64) {
    for name in SYSTEM_GROUPS {
        groups.put_if_absent(with_defaults(name), now_ms);
    }
}

/// Cuts groups whose retry topics would get more queues than are allowed here; returns what is to be told of it.
pub(crate) fn limit_retry_queues(groups: &Groups, now_ms: i64) -> Vec<String> {
    let mut notes = Vec::new();
    for group in groups.all() {
        let queues = group.retry_queue_nums;
        if queues <= MAX_QUEUES {
            continue;
        }
        notes.push(format!(
            "subscriptionGroup.json: group {} has {queues} retry queues; {MAX_QUEUES} are used",
            group.group_name
        ));
        let config = SubscriptionGroupConfig {
            retry_queue_nums: MAX_QUEUES,
            ..SubscriptionGroupConfig::clone(&group)
        };
        groups.put(config, now_ms);
    }
    notes.sort();
    notes
}

/// The group, created with defaults if that is allowed. Java: `findSubscriptionGroupConfig`.
pub(crate) fn find_or_create(
    groups: &Groups,
    group: &str,
    auto_create: bool,
    now_ms: i64,
) -> Option<Found> {
    if let Some(config) = groups.get(group) {
        return Some(Found {
            config,
            is_new: false,
        });
    }
    if !(auto_create || group.starts_with("CID_RMQ_SYS_")) || check_group(group).is_err() {
        return None;
    }
    let (config, is_new) = groups.put_if_absent(with_defaults(group), now_ms);
    Some(Found { config, is_new })
}

fn with_defaults(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        group_name: name.to_owned(),
        ..SubscriptionGroupConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use rocketry_store::{Store, StoreOptions};

    use super::*;

    #[test]
    fn groups_are_created_on_first_sight_unless_that_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let (_writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 0).unwrap();
        let groups = &reader.metadata().groups;
        add_predefined(groups, 1);
        assert!(find_or_create(groups, "G", true, 1).unwrap().is_new);
        assert!(!find_or_create(groups, "G", false, 2).unwrap().is_new);
        assert!(find_or_create(groups, "no good", true, 3).is_none());
        assert!(find_or_create(groups, "H", false, 1).is_none());
        assert!(
            find_or_create(groups, "CID_RMQ_SYS_X", false, 1)
                .unwrap()
                .is_new
        );
        assert!(groups.get("TOOLS_CONSUMER").is_some());
    }
}
