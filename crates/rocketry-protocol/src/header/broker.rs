//! A broker's settings. The other operations on a broker (25, 28, 306, 316, 329) have no header fields.

headers! {
    /// The settings of a broker (26), as properties text in the body of the reply.
    GetBrokerConfigRequest {} GET_BROKER_CONFIG => GetBrokerConfigReply;

    /// Which settings these are.
    GetBrokerConfigReply {
        /// A data version, as JSON.
        version: String = "version",
    };
}
