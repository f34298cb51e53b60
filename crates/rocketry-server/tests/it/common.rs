//! A server and a connection to each of its ports.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_protocol::{
    MessageExt, RemotingCommand, Request,
    body::{
        self,
        heartbeat::{
            ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
        },
    },
    header::{
        PullMessageReply, PullMessageRequest, SendMessageReply, SendMessageRequest, pull_sys_flag,
    },
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Handler, Unsupported};
use rocketry_server::{Server, ServerConfig};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Wire {
    pub(crate) server: Server,
    client: Connections,
}

impl Wire {
    pub(crate) async fn start() -> Self {
        Self::with(ServerConfig::temp()).await
    }

    pub(crate) async fn with(config: ServerConfig) -> Self {
        Self::to(Server::start(config).await.unwrap())
    }

    pub(crate) fn to(server: Server) -> Self {
        Self {
            server,
            client: client(Arc::new(Unsupported)),
        }
    }

    /// Another client of the same server.
    pub(crate) fn join(&self, handler: Arc<dyn Handler>) -> Peer {
        Peer {
            addr: self.server.broker_addr().to_owned(),
            client: client(handler),
        }
    }

    /// A client of another port of the server.
    pub(crate) fn join_at(&self, addr: &str) -> Peer {
        Peer {
            addr: addr.to_owned(),
            ..self.join(Arc::new(Unsupported))
        }
    }

    pub(crate) async fn broker(&self, command: RemotingCommand) -> RemotingCommand {
        self.client
            .call(self.server.broker_addr(), command, Deadline::after(TIMEOUT))
            .await
            .unwrap()
    }

    pub(crate) async fn namesrv(&self, command: RemotingCommand) -> RemotingCommand {
        self.client
            .call(
                self.server.namesrv_addr(),
                command,
                Deadline::after(TIMEOUT),
            )
            .await
            .unwrap()
    }

    pub(crate) async fn ask_broker<R: Request>(&self, request: &R) -> RemotingCommand {
        self.broker(RemotingCommand::request(request)).await
    }

    pub(crate) async fn ask_namesrv<R: Request>(&self, request: &R) -> RemotingCommand {
        self.namesrv(RemotingCommand::request(request)).await
    }

    pub(crate) async fn oneway(&self, command: RemotingCommand) {
        self.client
            .oneway(self.server.broker_addr(), command, Deadline::after(TIMEOUT))
            .await
            .unwrap();
    }

    /// Sends a message to a queue and returns where it was stored.
    pub(crate) async fn put(
        &self,
        topic: &str,
        queue_id: i32,
        properties: &str,
        body: &str,
    ) -> SendMessageReply {
        let response = self
            .broker(send(
                &SendMessageRequest {
                    queue_id,
                    properties,
                    ..request_to(topic)
                },
                body.to_owned(),
            ))
            .await;
        assert_eq!(response.code, 0, "{:?}", response.remark);
        response.header().unwrap()
    }

    /// All messages of a queue.
    pub(crate) async fn read_all(&self, topic: &str, queue_id: i32) -> Vec<MessageExt> {
        let mut messages = Vec::new();
        let mut offset = 0;
        loop {
            let response = self.ask_broker(&pull(topic, queue_id, offset)).await;
            if response.code != 0 {
                assert_eq!(response.code, 19, "{response:?}");
                return messages;
            }
            offset = response
                .header::<PullMessageReply>()
                .unwrap()
                .next_begin_offset;
            messages.extend(decode(&response.body));
        }
    }
}

/// A client with a connection of its own.
pub(crate) struct Peer {
    addr: String,
    client: Connections,
}

impl Peer {
    pub(crate) async fn call(&self, command: RemotingCommand) -> RemotingCommand {
        self.client
            .call(&self.addr, command, Deadline::after(TIMEOUT))
            .await
            .unwrap()
    }

    pub(crate) async fn leave(self) {
        self.client.close_all().await;
    }
}

fn client(handler: Arc<dyn Handler>) -> Connections {
    Connections::new(ConnectOptions::default(), handler)
}

pub(crate) fn request_to(topic: &str) -> SendMessageRequest<'_> {
    SendMessageRequest {
        producer_group: "PG",
        topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        born_timestamp: 1_700_000_000_000,
        ..SendMessageRequest::default()
    }
}

pub(crate) fn send(request: &SendMessageRequest<'_>, body: impl Into<Bytes>) -> RemotingCommand {
    RemotingCommand::request(request).with_body(body)
}

pub(crate) fn pull(topic: &str, queue_id: i32, offset: i64) -> PullMessageRequest<'_> {
    PullMessageRequest {
        consumer_group: "CG",
        topic,
        lite_topic: None,
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: pull_sys_flag::SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some("*"),
        sub_version: 0,
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
        broker_name: None,
    }
}

pub(crate) fn decode(body: &Bytes) -> Vec<MessageExt> {
    MessageExt::decode_all(body, &Arc::from("broker-a")).unwrap()
}

/// A heartbeat of a producer, and of a consumer of `topics` where some are given.
pub(crate) fn heartbeat(
    client_id: &str,
    group: &str,
    model: MessageModel,
    topics: &[&str],
) -> HeartbeatData {
    let consumers = (!topics.is_empty()).then(|| ConsumerData {
        group_name: group.to_owned(),
        message_model: Some(model),
        consume_type: Some(ConsumeType::Passively),
        subscription_data_set: topics
            .iter()
            .map(|t| SubscriptionData::by_tags(*t, "*", 1))
            .collect(),
        ..ConsumerData::default()
    });
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: consumers.into_iter().collect(),
        producer_data_set: vec![ProducerData {
            group_name: "PG".to_owned(),
        }],
        ..HeartbeatData::default()
    }
}

pub(crate) fn beat(data: &HeartbeatData) -> RemotingCommand {
    RemotingCommand::bare_request(rocketry_protocol::RequestCode::HEART_BEAT)
        .with_body(body::encode(data).unwrap())
}
