//! Where routes come from, and why there may be none.

use std::{sync::Arc, time::Duration};

use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode,
    body::route::{ClusterInfo, TopicRouteData},
    header::GetRouteInfoRequest,
};
use rocketry_remoting::Deadline;

use crate::{
    error::{Error, ErrorKind},
    hint,
    name_server::{NameServerClient, Unanswered},
    transport::Transport,
};

/// Asks name servers for routes.
#[derive(Debug)]
pub(crate) struct RouteSource {
    pub(crate) transport: Arc<Transport>,
    pub(crate) name_servers: Arc<NameServerClient>,
    pub(crate) timeout: Duration,
}

/// Why there is no route. Shared by everyone who waited for it.
#[derive(Debug, Clone)]
pub(crate) enum RouteError {
    NoAnswer(Arc<Unanswered>),
    /// The topic does not exist, nor will a broker create it. `no_brokers`: the name servers, if they know no broker at all.
    Missing {
        no_brokers: Option<String>,
    },
    NotWritable,
    Refused {
        code: ResponseCode,
        remark: Option<String>,
    },
    Malformed(String),
    /// The caller's deadline came before any of these answered.
    TimedOut(String),
    /// The client was shut down meanwhile.
    Ended,
}

impl RouteError {
    /// The error of an operation that needs the route.
    pub(crate) fn into_error(self, action: String, topic: &str) -> Error {
        let error = match self {
            Self::NoAnswer(unanswered) => unanswered.to_error(action),
            Self::Missing { no_brokers } => {
                let (reason, hint) = if let Some(name_servers) = no_brokers {
                    (
                        format!("no broker is registered at the name server {name_servers}"),
                        "start a broker, or check that it registers at this name server".to_owned(),
                    )
                } else {
                    (
                        format!(
                            "topic {topic:?} does not exist, and the brokers do not create topics by themselves"
                        ),
                        format!("create it: rocketry topic create {topic}"),
                    )
                };
                Error::new(ErrorKind::TopicNotFound, action, reason).with_hint(hint)
            }
            Self::NotWritable => Error::new(
                ErrorKind::TopicNotWritable,
                action,
                format!("topic {topic:?} has no queue that can be written to"),
            )
            .with_hint("its brokers are read-only or have no master; see `rocketry topic route`"),
            Self::Refused { code, remark } => {
                let text = remark.as_deref().unwrap_or("no remark");
                let reason = format!("the name server answered {code}: {text}");
                let hint = hint::access(code, remark.as_deref());
                let error =
                    Error::new(ErrorKind::Refused, action, reason).with_answer(code, remark);
                match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            }
            Self::Malformed(reason) => Error::new(
                ErrorKind::Protocol,
                action,
                format!("the name server's route cannot be read: {reason}"),
            ),
            Self::TimedOut(name_servers) => Error::new(
                ErrorKind::NameServerUnreachable,
                action,
                format!("the name server {name_servers} did not answer in time"),
            )
            .with_hint("allow more time, or check what runs at that address"),
            Self::Ended => Error::new(ErrorKind::Closed, action, "the client is shut down"),
        };
        error.with_topic(topic)
    }
}

impl RouteSource {
    /// The topic's route; `None` when no name server knows it.
    pub(crate) async fn query(
        &self,
        topic: &str,
        deadline: Deadline,
    ) -> Result<Option<TopicRouteData>, RouteError> {
        let reply = self
            .call(
                RemotingCommand::request(&GetRouteInfoRequest {
                    topic,
                    accept_standard_json_only: Some(true),
                }),
                deadline,
            )
            .await?;
        match reply.response_code() {
            ResponseCode::SUCCESS => rocketry_protocol::body::decode(&reply.body)
                .map(Some)
                .map_err(|error| RouteError::Malformed(error.to_string())),
            ResponseCode::TOPIC_NOT_EXIST => Ok(None),
            code => Err(RouteError::Refused {
                code,
                remark: reply.remark,
            }),
        }
    }

    /// A request to the name servers, failing over among them.
    pub(crate) async fn call(
        &self,
        command: RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, RouteError> {
        self.name_servers
            .call(&self.transport, &command, deadline)
            .await
            .map_err(|unanswered| RouteError::NoAnswer(Arc::new(unanswered)))
    }

    /// The name servers, if they tell that no broker is registered.
    pub(super) async fn without_brokers(&self, deadline: Deadline) -> Option<String> {
        let command = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let reply = self.call(command, deadline).await.ok()?;
        let cluster: ClusterInfo = rocketry_protocol::body::decode(&reply.body).ok()?;
        cluster
            .broker_addr_table
            .is_empty()
            .then(|| self.name_servers.to_string())
    }
}
