//! Consumer groups on a broker. Creating one (200, 225) has no header fields.

use super::NoFields;

headers! {
    /// All consumer groups (201), in the body of the reply: a page from `group_seq` on, or all when no field is set.
    GetAllSubscriptionGroupConfigRequest<'a> {
        /// First group of the page, counted by name.
        group_seq: Option<i32> = "groupSeq",
        /// Data version that the caller has, as JSON; another one starts at the first page again.
        data_version: Option<&'a str> = "dataVersion",
        /// Most groups of the page.
        max_group_num: Option<i32> = "maxGroupNum",
    } GET_ALL_SUBSCRIPTIONGROUP_CONFIG => GetAllSubscriptionGroupConfigReply;

    /// How many there are.
    GetAllSubscriptionGroupConfigReply {
        /// Number of groups; absent when everything came at once.
        total_group_num: Option<i32> = "totalGroupNum",
    };

    /// Settings of one consumer group (352), in the body of the reply.
    GetSubscriptionGroupConfigRequest<'a> {
        /// Consumer group.
        group: &'a str = "group",
    } GET_SUBSCRIPTIONGROUP_CONFIG => NoFields;

    /// Delete a consumer group (207).
    DeleteSubscriptionGroupRequest<'a> {
        /// Consumer group.
        group_name: &'a str = "groupName",
        /// Whether its offsets go, too.
        clean_offset: bool = "cleanOffset" or false,
    } DELETE_SUBSCRIPTIONGROUP => NoFields;

    /// May a group read a topic (353)? The answer is the body of the reply.
    UpdateGroupForbiddenRequest<'a> {
        /// Consumer group.
        group: &'a str = "group",
        /// Topic.
        topic: &'a str = "topic",
        /// The new answer; absent changes nothing.
        readable: Option<bool> = "readable",
    } UPDATE_AND_GET_GROUP_FORBIDDEN => NoFields;
}
