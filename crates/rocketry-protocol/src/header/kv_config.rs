//! The name server's table of values.

use super::NoFields;

headers! {
    /// Set a value (100).
    PutKvConfigRequest<'a> {
        /// Namespace.
        namespace: &'a str = "namespace",
        /// Key.
        key: &'a str = "key",
        /// Value.
        value: &'a str = "value",
    } PUT_KV_CONFIG => NoFields;

    /// Read a value (101); `QUERY_NOT_FOUND` when there is none.
    GetKvConfigRequest<'a> {
        /// Namespace.
        namespace: &'a str = "namespace",
        /// Key.
        key: &'a str = "key",
    } GET_KV_CONFIG => GetKvConfigReply;

    /// The value.
    GetKvConfigReply {
        /// Value.
        value: Option<String> = "value",
    };

    /// Delete a value (102), whether there is one or not.
    DeleteKvConfigRequest<'a> {
        /// Namespace.
        namespace: &'a str = "namespace",
        /// Key.
        key: &'a str = "key",
    } DELETE_KV_CONFIG => NoFields;

    /// All values of a namespace (219), in the body of the reply; `QUERY_NOT_FOUND` when there are none.
    GetKvListByNamespaceRequest<'a> {
        /// Namespace.
        namespace: &'a str = "namespace",
    } GET_KVLIST_BY_NAMESPACE => NoFields;
}
