//! Administration: topics, groups, offsets, messages, the cluster, users.

mod access;
mod cluster;
mod groups;
mod messages;
mod offsets;
mod progress;
mod topics;

pub use cluster::{BrokerAddress, Brokers};
pub use groups::{GroupChange, GroupUpdate};
pub use messages::{QueryOptions, QueryResult};
pub use offsets::Boundary;
pub use progress::{GroupProgress, QueueProgress, ResetTo};
pub use topics::{CreatedTopic, QueueStats, TopicChange, TopicOptions};

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    MessageQueue, RemotingCommand, Request, ResponseCode, Topic,
    body::{
        self,
        route::{BrokerData, TopicRouteData},
    },
};
use rocketry_remoting::Deadline;

use crate::{
    client::{Client, Core},
    clock,
    error::{Attempt, Error, ErrorKind, Phase},
    hint,
    producer::classify,
    route::RouteError,
};

/// Administrative calls. Each asks name servers or brokers anew, within [`crate::ClientConfig::admin_timeout`]; nothing is cached.
///
/// Java: `DefaultMQAdminExt`, `MQAdminImpl`.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    fn core(&self) -> &Arc<Core> {
        self.client.core()
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.core().config.admin_timeout)
    }

    /// The topic's route, or the error that it has none.
    async fn route(
        &self,
        action: &str,
        topic: &str,
        deadline: Deadline,
    ) -> Result<TopicRouteData, Error> {
        let source = self.core().routes.source();
        let fail = |error: RouteError| error.into_error(action.to_owned(), topic);
        source
            .query(topic, deadline)
            .await
            .map_err(fail)?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::TopicNotFound,
                    action.to_owned(),
                    format!("topic {topic:?} does not exist"),
                )
                .with_topic(topic)
                .with_hint(format!("create it: rocketry topic create {topic}"))
            })
    }

    /// Asks the name servers and reads the body of the answer.
    async fn ask_name_server<B: serde::de::DeserializeOwned>(
        &self,
        action: &str,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<B, Error> {
        let reply = self.core().routes.source().call(command, deadline).await;
        let reply = reply.map_err(|error| error.into_error(action.to_owned(), ""))?;
        if reply.response_code() != ResponseCode::SUCCESS {
            return Err(refused(action, "name server", "", reply));
        }
        body::decode(&reply.body).map_err(|error| unreadable(action, &error))
    }

    /// A request to a broker, whose answer must be a success.
    pub(crate) async fn ask_broker<R: Request>(
        &self,
        action: &str,
        broker: &str,
        address: &str,
        request: &R,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Error> {
        ask(
            self.core(),
            action,
            (broker, address),
            RemotingCommand::request(request),
            deadline,
        )
        .await
    }

    /// The address to ask about a queue: its broker's master.
    async fn address(
        &self,
        action: &str,
        queue: &MessageQueue,
        deadline: Deadline,
    ) -> Result<String, Error> {
        let topic = queue.topic.as_str();
        let route = self.route(action, topic, deadline).await?;
        route
            .broker_datas
            .iter()
            .find(|broker| *broker.broker_name == *queue.broker_name)
            .and_then(any_address)
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::BrokerUnknown,
                    action.to_owned(),
                    format!("no address of broker {:?} is known", &*queue.broker_name),
                )
                .with_topic(topic)
            })
    }
}

/// One request to a broker, whose answer must be a success. Errors say what was being done, and where.
pub(crate) async fn ask(
    core: &Core,
    action: &str,
    broker: (&str, &str),
    command: RemotingCommand,
    deadline: Deadline,
) -> Result<RemotingCommand, Error> {
    ask_any(
        core,
        action,
        broker,
        command,
        deadline,
        &[ResponseCode::SUCCESS],
    )
    .await
}

/// As [`ask`], for requests with several good answers.
pub(crate) async fn ask_any(
    core: &Core,
    action: &str,
    (broker, address): (&str, &str),
    command: RemotingCommand,
    deadline: Deadline,
    good: &[ResponseCode],
) -> Result<RemotingCommand, Error> {
    let started = clock::now();
    match core.transport.call(address, command, deadline).await {
        Ok(reply) if good.contains(&reply.response_code()) => Ok(reply),
        Ok(reply) => Err(refused(action, broker, address, reply)),
        Err(error) => {
            let elapsed = clock::now().saturating_duration_since(started);
            let (kind, phase) = classify(&error);
            let hint = error.tls_hint().map(Into::into);
            let attempt = attempt(broker, address, elapsed, phase, None, error.to_string());
            let failed = Error::new(kind, action.to_owned(), error.to_string())
                .with_attempts(vec![attempt])
                .with_times(elapsed, elapsed + deadline.remaining())
                .with_source(error);
            Err(match hint.or_else(|| hint::lost(kind, phase, address)) {
                Some(hint) => failed.with_hint(hint),
                None => failed,
            })
        }
    }
}

/// The answer is an error.
fn refused(action: &str, peer: &str, address: &str, reply: RemotingCommand) -> Error {
    let code = reply.response_code();
    let text = reply.remark.as_deref().unwrap_or("no remark");
    let outcome = format!("answered {code}: {text}");
    let reason = format!("{peer} {outcome}");
    let attempt = attempt(
        peer,
        address,
        Duration::ZERO,
        Phase::Answer,
        Some(code),
        outcome,
    );
    let hint = hint::access(code, reply.remark.as_deref());
    let error = Error::new(ErrorKind::Refused, action.to_owned(), reason)
        .with_attempts(vec![attempt])
        .with_answer(code, reply.remark);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn attempt(
    peer: &str,
    address: &str,
    elapsed: Duration,
    phase: Phase,
    code: Option<ResponseCode>,
    outcome: String,
) -> Attempt {
    Attempt {
        peer: peer.into(),
        address: address.into(),
        queue_id: None,
        started: Duration::ZERO,
        elapsed,
        phase,
        code,
        outcome,
    }
}

pub(crate) fn unreadable(action: &str, error: &rocketry_protocol::DecodeError) -> Error {
    Error::new(
        ErrorKind::Protocol,
        action.to_owned(),
        format!("the answer cannot be read: {error}"),
    )
    .with_source(error.clone())
}

/// A topic name as an argument.
pub(crate) fn topic_name(action: &str, name: &str) -> Result<Topic, Error> {
    Topic::new(name).map_err(|error| {
        Error::new(
            ErrorKind::InvalidArgument,
            action.to_owned(),
            error.to_string(),
        )
        .with_topic(name)
    })
}

/// The master's address, else a slave's.
pub(crate) fn any_address(broker: &BrokerData) -> Option<&String> {
    broker
        .broker_addrs
        .get(&0)
        .or_else(|| broker.broker_addrs.values().next())
}
