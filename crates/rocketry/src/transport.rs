//! The way of every request of a client to the wire: what all of them say is added here, and nowhere else.

use std::sync::atomic::{AtomicBool, Ordering};

use rocketry_protocol::{Language, RemotingCommand, ResponseCode, TypedRequest, WriteHeader, acl};
use rocketry_remoting::{Connection, Connections, Deadline, Error};
use tokio::time::Instant;

use crate::{config::ClientConfig, rpc_hook::RpcHooks};

/// The client's connections, and what its requests have in common.
#[derive(Debug)]
pub(crate) struct Transport {
    connections: Connections,
    marks: Marks,
    hooks: RpcHooks,
}

/// Header fields that every request carries. Java: the chain of RPC hooks, in which the zone is added after the signature, so that
/// both together fail.
#[derive(Debug)]
struct Marks {
    language: Language,
    /// In the order in which they are written.
    fields: Vec<(&'static str, String)>,
    credentials: Option<acl::Credentials>,
}

impl Marks {
    fn new(config: &ClientConfig) -> Self {
        let mut fields = Vec::new();
        if let Some(namespace) = &config.namespace_v2 {
            fields.push(("nsd", "true".to_owned()));
            fields.push(("ns", namespace.clone()));
        }
        if config.stream_requests {
            fields.push(("ReqT", "0".to_owned()));
        }
        if let Some(zone) = &config.zone_name {
            fields.push(("__ZONE_NAME", zone.clone()));
        }
        if let Some(mode) = &config.zone_mode {
            fields.push(("__ZONE_MODE", mode.clone()));
        }
        Self {
            language: config.language,
            fields,
            credentials: config.credentials.clone(),
        }
    }

    fn mark(&self, command: &mut RemotingCommand) {
        command.language = Some(self.language);
        if !self.fields.is_empty() {
            let fields = command.fields.get_or_insert_default();
            for (name, value) in &self.fields {
                fields.push(name, value);
            }
        }
    }

    /// Covers everything that was added before.
    fn sign(&self, command: &mut RemotingCommand) {
        if let Some(credentials) = &self.credentials {
            acl::sign(command, credentials);
        }
    }
}

impl Transport {
    pub(crate) fn new(connections: Connections, config: &ClientConfig) -> Self {
        Self {
            connections,
            marks: Marks::new(config),
            hooks: RpcHooks::default(),
        }
    }

    pub(crate) fn with_hooks(self, hooks: RpcHooks) -> Self {
        Self { hooks, ..self }
    }

    /// Bytes that the request takes on the wire, without what hooks add.
    pub(crate) fn frame_bytes(&self, mut command: RemotingCommand) -> usize {
        self.marks.mark(&mut command);
        self.marks.sign(&mut command);
        let mut head = bytes::BytesMut::new();
        // one that cannot be encoded is reported by the attempt
        let _ = command.encode_head(&mut head);
        head.len() + command.body.len()
    }

    /// Whether requests go out as they are made, but for the language.
    fn adds_nothing(&self) -> bool {
        self.marks.fields.is_empty() && self.marks.credentials.is_none() && self.hooks.is_empty()
    }

    fn prepare(&self, address: &str, command: &mut RemotingCommand) {
        self.marks.mark(command);
        self.hooks.before(address, command);
        self.marks.sign(command);
    }

    /// Has the hooks see a request and its response.
    async fn watched(
        &self,
        address: &str,
        request: Option<RemotingCommand>,
        reply: impl Future<Output = Result<RemotingCommand, Error>>,
    ) -> Result<RemotingCommand, Error> {
        let reply = reply.await?;
        self.hooks.after(address, request, &reply);
        Ok(reply)
    }

    /// A request and its response. A peer that says it is going away is asked once more, on a new connection.
    pub(crate) async fn call(
        &self,
        address: &str,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Error> {
        {
            let connection = self.connections.get(address, deadline).await?;
            let reply = self.call_on(&connection, command.clone(), deadline).await?;
            if reply.response_code() != ResponseCode::GO_AWAY {
                return Ok(reply);
            }
        }
        let replacement = self.connections.get(address, deadline).await?;
        self.call_on(&replacement, command, deadline).await
    }

    /// As [`Transport::call`], on a given connection and once. It is not used any more if its peer says that it is going away.
    pub(crate) async fn call_on(
        &self,
        connection: &Connection,
        mut command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Error> {
        let address = connection.info().name();
        self.prepare(address, &mut command);
        let kept = self.hooks.keep(&command);
        let reply = connection.call(command, deadline);
        let reply = self.watched(address, kept, reply).await?;
        if reply.response_code() == ResponseCode::GO_AWAY {
            self.connections.retire(connection);
        }
        Ok(reply)
    }

    /// A one-way send.
    pub(crate) async fn oneway_typed(
        &self,
        address: &str,
        request: TypedRequest<impl WriteHeader>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let request = if let Some(connection) = self.plain(address) {
            let request = request.with_language(self.marks.language);
            match connection.oneway_now(request, deadline) {
                Ok(queued) => return queued,
                Err(request) => request,
            }
        } else {
            request
        };
        // Boxed, as all that rarely happens: every send under way would carry a place for it.
        Box::pin(self.oneway(address, request.into_command(), deadline)).await
    }

    /// A request that nobody answers; done when the connection has taken it.
    pub(crate) async fn oneway(
        &self,
        address: &str,
        mut command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.prepare(address, &mut command);
        self.connections.oneway(address, command, deadline).await
    }

    /// The live connection to `address`, if requests go out on it as they are made, but for the language.
    pub(crate) fn plain(&self, address: &str) -> Option<Connection> {
        self.adds_nothing()
            .then(|| self.connections.ready(address))
            .flatten()
    }

    /// The peer says that it is going away.
    pub(crate) fn retire(&self, connection: &Connection) {
        self.connections.retire(connection);
    }

    /// The language that requests name.
    pub(crate) fn language(&self) -> Language {
        self.marks.language
    }

    /// A request made by `make`, and its response; `handed` becomes true when the request is on its way.
    ///
    /// A peer that says it is going away is asked once more, on a new connection, unless `in_order`: what was handed over later could
    /// be there first. Java: `NettyRemotingClient`, `GO_AWAY`.
    pub(crate) async fn exchange<H: WriteHeader>(
        &self,
        address: &str,
        make: impl Fn() -> TypedRequest<H>,
        (now, deadline): (Instant, Deadline),
        (handed, in_order): (&AtomicBool, bool),
    ) -> Result<RemotingCommand, Error> {
        // What rarely happens is boxed: every send under way would carry a place for it.
        let Some(connection) = self.plain(address) else {
            let exchanged = self.exchange_carefully(address, make, deadline, (handed, in_order));
            return Box::pin(exchanged).await;
        };
        let request = make().with_language(self.marks.language);
        let begun = match connection.begin_now(request, deadline, now) {
            Ok(begun) => begun?,
            Err(request) => Box::pin(connection.begin(request, deadline)).await?,
        };
        handed.store(true, Ordering::Relaxed);
        let reply = begun.await?;
        if reply.response_code() != ResponseCode::GO_AWAY {
            return Ok(reply);
        }
        self.connections.retire(&connection);
        if in_order {
            return Ok(reply);
        }
        Box::pin(self.exchange_again(address, make, deadline, handed)).await
    }

    /// Opens the connection if need be, and has the hooks see the request.
    async fn exchange_carefully<H: WriteHeader>(
        &self,
        address: &str,
        make: impl Fn() -> TypedRequest<H>,
        deadline: Deadline,
        (handed, in_order): (&AtomicBool, bool),
    ) -> Result<RemotingCommand, Error> {
        let connection = self.connections.get(address, deadline).await?;
        let reply = self
            .exchange_on(&connection, &make, deadline, handed)
            .await?;
        if reply.response_code() != ResponseCode::GO_AWAY {
            return Ok(reply);
        }
        self.connections.retire(&connection);
        if in_order {
            return Ok(reply);
        }
        self.exchange_again(address, make, deadline, handed).await
    }

    /// The request once more, on a new connection.
    pub(crate) async fn exchange_again<H: WriteHeader>(
        &self,
        address: &str,
        make: impl Fn() -> TypedRequest<H>,
        deadline: Deadline,
        handed: &AtomicBool,
    ) -> Result<RemotingCommand, Error> {
        let replacement = self.connections.get(address, deadline).await?;
        self.exchange_on(&replacement, make, deadline, handed).await
    }

    async fn exchange_on<H: WriteHeader>(
        &self,
        connection: &Connection,
        make: impl Fn() -> TypedRequest<H>,
        deadline: Deadline,
        handed: &AtomicBool,
    ) -> Result<RemotingCommand, Error> {
        let mut command = make().into_command();
        let address = connection.info().name();
        self.prepare(address, &mut command);
        let kept = self.hooks.keep(&command);
        let reply = connection.begin(command, deadline).await?;
        handed.store(true, Ordering::Relaxed);
        self.watched(address, kept, reply).await
    }

    /// Calls that wait for a response.
    pub(crate) fn in_flight(&self) -> usize {
        self.connections.in_flight()
    }

    pub(crate) async fn close_all(&self) {
        self.connections.close_all().await;
    }
}

#[cfg(test)]
mod tests {
    use rocketry_protocol::RequestCode;

    use super::*;

    fn marked(config: &ClientConfig) -> RemotingCommand {
        let mut command =
            RemotingCommand::bare_request(RequestCode::HEART_BEAT).with_field("a", "b");
        let marks = Marks::new(config);
        marks.mark(&mut command);
        marks.sign(&mut command);
        command
    }

    #[test]
    fn nothing_is_added_unless_configured() {
        let command = marked(&ClientConfig::default());
        let fields: Vec<_> = command
            .fields
            .iter()
            .flat_map(rocketry_protocol::Fields::iter)
            .collect();
        assert_eq!(fields, [("a", Some("b"))]);
        assert_eq!(command.language, Some(Language::RUST));
    }

    /// P-137: the signature covers namespace and zone.
    #[test]
    fn the_signature_is_the_last_thing_added() {
        let config = ClientConfig {
            namespace_v2: Some("ns1".to_owned()),
            zone_name: Some("z".to_owned()),
            zone_mode: Some("m".to_owned()),
            stream_requests: true,
            ..ClientConfig::default()
        };
        let credentials = acl::Credentials {
            access_key: "AK".to_owned(),
            secret_key: "SK".to_owned(),
            security_token: None,
        };
        let mut expected = marked(&config);
        acl::sign(&mut expected, &credentials);
        let signed = marked(&ClientConfig {
            credentials: Some(credentials),
            ..config
        });
        for (name, value) in [
            ("nsd", "true"),
            ("ns", "ns1"),
            ("ReqT", "0"),
            ("__ZONE_NAME", "z"),
            ("__ZONE_MODE", "m"),
            ("AccessKey", "AK"),
        ] {
            assert_eq!(signed.field(name), Some(value), "{name}");
        }
        assert!(signed.field("Signature").is_some());
        assert_eq!(signed.field("Signature"), expected.field("Signature"));
    }
}
