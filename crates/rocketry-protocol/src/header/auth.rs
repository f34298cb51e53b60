//! Users and access rules. What is created or changed is in the bodies.

use super::NoFields;

headers! {
    /// Create the user of the body (3001).
    CreateUserRequest<'a> {
        /// Name.
        username: Option<&'a str> = "username",
    } AUTH_CREATE_USER => NoFields;

    /// Change the user of the body (3002).
    UpdateUserRequest<'a> {
        /// Name.
        username: Option<&'a str> = "username",
    } AUTH_UPDATE_USER => NoFields;

    /// Delete a user (3003).
    DeleteUserRequest<'a> {
        /// Name.
        username: Option<&'a str> = "username",
    } AUTH_DELETE_USER => NoFields;

    /// One user (3004), in the body of the reply, which is empty when there is none.
    GetUserRequest<'a> {
        /// Name.
        username: Option<&'a str> = "username",
    } AUTH_GET_USER => NoFields;

    /// All users (3005), in the body of the reply.
    ListUserRequest<'a> {
        /// Part of the name.
        filter: Option<&'a str> = "filter",
    } AUTH_LIST_USER => NoFields;

    /// Create the access rules of the body (3006).
    CreateAclRequest<'a> {
        /// `User:name`.
        subject: Option<&'a str> = "subject",
    } AUTH_CREATE_ACL => NoFields;

    /// Change the access rules of the body (3007).
    UpdateAclRequest<'a> {
        /// `User:name`.
        subject: Option<&'a str> = "subject",
    } AUTH_UPDATE_ACL => NoFields;

    /// Delete access rules (3008).
    DeleteAclRequest<'a> {
        /// `User:name`.
        subject: Option<&'a str> = "subject",
        /// `Custom` or `Default`.
        policy_type: Option<&'a str> = "policyType",
        /// Only the rules of this resource.
        resource: Option<&'a str> = "resource",
    } AUTH_DELETE_ACL => NoFields;

    /// The access rules of a user (3009), in the body of the reply.
    GetAclRequest<'a> {
        /// `User:name`.
        subject: Option<&'a str> = "subject",
    } AUTH_GET_ACL => NoFields;

    /// All access rules (3010), in the body of the reply.
    ListAclRequest<'a> {
        /// Part of the subject.
        subject_filter: Option<&'a str> = "subjectFilter",
        /// Part of the resource.
        resource_filter: Option<&'a str> = "resourceFilter",
    } AUTH_LIST_ACL => NoFields;
}
