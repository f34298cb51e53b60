//! Peers in memory: good ones that answer as they should, and what a bad one does with its connections.

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use rocketry::{BrokerData, Client, ClientConfig, QueueData, TopicRouteData};
use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, body, frame,
    header::{SendMessageReply, SendMessageRequest},
};
use rocketry_remoting::{Dial, DialFuture, Dialed};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::sleep,
};

/// What a peer does with one connection, to its end.
pub(crate) type Serve = Arc<dyn Fn(Conversation) -> Served + Send + Sync>;
pub(crate) type Served = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// By address.
#[derive(Clone, Default)]
pub(crate) struct Peers(BTreeMap<String, Serve>);

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peers")
    }
}

impl Dial for Peers {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        Box::pin(async move {
            let Some(serve) = self.0.get(addr) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (near, far) = tokio::io::duplex(64 * 1024);
            let conversation = Conversation {
                stream: far,
                inbox: BytesMut::new(),
            };
            // ends with its connection: by an error at the latest when the client has closed it
            tokio::spawn(serve(conversation));
            let any: SocketAddr = ([10, 0, 0, 1], 1).into();
            Ok(Dialed::new(near, any, any))
        })
    }
}

impl Peers {
    pub(crate) fn with<F>(
        mut self,
        addr: &str,
        serve: impl Fn(Conversation) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let serve = move |conversation| Box::pin(serve(conversation)) as Served;
        self.0.insert(addr.to_owned(), Arc::new(serve));
        self
    }

    /// A name server at `names:1` that knows the brokers "bad" and "good", and the good one.
    pub(crate) fn good() -> Self {
        Self::default()
            .with("names:1", |conversation| {
                conversation.answer_all(good_route)
            })
            .with("good:1", |conversation| {
                conversation.answer_all(good_broker)
            })
    }

    pub(crate) async fn client(self, name_servers: &str) -> Client {
        let config = ClientConfig {
            client_ip: Some([10, 9, 9, 9].into()),
            instance_name: Some("hostile".to_owned()),
            ..ClientConfig::default()
        };
        let client = Client::connect(name_servers).config(config);
        client.dialer(Arc::new(self)).await.unwrap()
    }
}

/// The server's end of a connection.
pub(crate) struct Conversation {
    pub(crate) stream: DuplexStream,
    inbox: BytesMut,
}

impl Conversation {
    /// The next request.
    pub(crate) async fn request(&mut self) -> io::Result<RemotingCommand> {
        loop {
            let frame = frame::split(&mut self.inbox, frame::MAX_FRAME_BYTES).unwrap();
            if let Some(frame) = frame {
                return Ok(RemotingCommand::decode(frame).unwrap());
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes `bytes` again and again, a piece each millisecond.
    pub(crate) async fn endless(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            self.write(bytes).await?;
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads and says nothing, until the other side is gone.
    pub(crate) async fn silence(&mut self) -> io::Result<()> {
        loop {
            self.request().await?;
        }
    }

    /// Answers every request that is not one-way.
    pub(crate) async fn answer_all(
        mut self,
        answer: impl Fn(&RemotingCommand) -> RemotingCommand,
    ) -> io::Result<()> {
        loop {
            let request = self.request().await?;
            if !request.is_oneway() {
                let reply = encoded(answer(&request).answering(&request));
                self.write(&reply).await?;
            }
        }
    }
}

pub(crate) fn encoded(command: RemotingCommand) -> Bytes {
    let mut bytes = BytesMut::new();
    command.encode(&mut bytes).unwrap();
    bytes.freeze()
}

pub(crate) fn ok() -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS)
}

/// The route of any topic: four queues on each broker.
pub(crate) fn route() -> TopicRouteData {
    let mut route = TopicRouteData::default();
    for name in ["bad", "good"] {
        route.broker_datas.push(BrokerData {
            broker_name: name.to_owned(),
            broker_addrs: [(0, format!("{name}:1"))].into(),
            ..BrokerData::default()
        });
        route.queue_datas.push(QueueData {
            broker_name: name.to_owned(),
            perm: 6,
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..QueueData::default()
        });
    }
    route
}

pub(crate) fn good_route(request: &RemotingCommand) -> RemotingCommand {
    assert_eq!(request.request_code(), RequestCode::GET_ROUTEINFO_BY_TOPIC);
    ok().with_body(body::encode_standard(&route()).unwrap())
}

pub(crate) fn good_broker(request: &RemotingCommand) -> RemotingCommand {
    if request.request_code() != RequestCode::SEND_MESSAGE_V2 {
        return ok();
    }
    let header: SendMessageRequest<'_> = request.header().unwrap();
    ok().with_header(&SendMessageReply::new("id".to_owned(), header.queue_id, 7))
}

/// The frames that Java's decoder was fed with to see it fail.
pub(crate) fn malformed_frames() -> Vec<(String, Vec<u8>)> {
    let text = include_str!("../../../rocketry-protocol/tests/vectors/negative.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let frames = vectors["frames"].as_array().unwrap();
    let frames = frames.iter().map(|frame| {
        let hex = frame["hex"].as_str().unwrap();
        let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
        let bytes = digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap());
        (frame["desc"].as_str().unwrap().to_owned(), bytes.collect())
    });
    frames.collect()
}
