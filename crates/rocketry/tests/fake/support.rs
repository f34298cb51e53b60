//! A scripted cluster over real loopback sockets: a name server and brokers that answer as a test says, and remember what they got.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rocketry::{
    BrokerData, Client, ClusterInfo, Connect, Message, Producer, QueueData, TopicRouteData,
};
use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, body,
    header::{GetRouteInfoRequest, SendMessageReply, SendMessageRequest},
};
use rocketry_remoting::{Connection, Deadline, Handler, Listener, ListenerOptions, Responder};
use tokio::{sync::Notify, time::Instant};

use crate::memory::Network;

/// Longest time that a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a server does with a request.
pub(crate) enum Action {
    Reply(RemotingCommand),
    /// Answers after this time.
    Later(Duration, RemotingCommand),
    /// Never answers.
    Silent,
    /// Closes the connection without an answer.
    Close,
    /// Keeps the request until [`FakeServer::release`].
    Hold,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) command: RemotingCommand,
    pub(crate) connection: u64,
    pub(crate) at: Instant,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.command.field(name).unwrap_or("<absent>")
    }
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        rocketry::Properties::parse(self.field("i"))
            .get(name)
            .map(str::to_owned)
    }
}

type Script = Box<dyn FnMut(&RemotingCommand) -> Action + Send>;

/// Listens, answers by script, remembers.
pub(crate) struct FakeServer {
    front: Front,
    state: Arc<State>,
}

enum Front {
    Socket(Listener),
    Memory(String),
}

struct State {
    script: Mutex<Script>,
    log: Mutex<Vec<Received>>,
    held: Mutex<Vec<(Responder, RemotingCommand)>>,
    connections: Mutex<Vec<Connection>>,
    opened: AtomicUsize,
    news: Notify,
}

impl FakeServer {
    pub(crate) fn start(script: impl FnMut(&RemotingCommand) -> Action + Send + 'static) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Self::start_at(any, script)
    }
    pub(crate) fn start_at(
        at: SocketAddr,
        script: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
    ) -> Self {
        Self::start_with(at, ListenerOptions::default(), script)
    }
    pub(crate) fn start_with(
        at: SocketAddr,
        options: ListenerOptions,
        script: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
    ) -> Self {
        Self::try_start(at, options, script).unwrap()
    }
    /// `None` when the port is taken.
    pub(crate) fn try_start_at(
        at: SocketAddr,
        script: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
    ) -> Option<Self> {
        Self::try_start(at, ListenerOptions::default(), script).ok()
    }
    fn try_start(
        at: SocketAddr,
        options: ListenerOptions,
        script: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
    ) -> std::io::Result<Self> {
        let state = State::new(script);
        let handler = Arc::clone(&state) as Arc<dyn Handler>;
        let front = Front::Socket(Listener::bind(at, options, handler)?);
        Ok(Self { front, state })
    }
    pub(crate) fn start_in(
        network: &Network,
        script: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
    ) -> Self {
        let state = State::new(script);
        let handler = Arc::clone(&state) as Arc<dyn Handler>;
        let front = Front::Memory(network.listen(&handler));
        Self { front, state }
    }
    pub(crate) fn addr(&self) -> String {
        match &self.front {
            Front::Socket(listener) => listener.local_addr().to_string(),
            Front::Memory(address) => address.clone(),
        }
    }
    pub(crate) fn script(&self, script: impl FnMut(&RemotingCommand) -> Action + Send + 'static) {
        *self.state.script.lock() = Box::new(script);
    }
    /// Requests of one code so far.
    pub(crate) fn received(&self, code: i32) -> Vec<Received> {
        self.received_any(&[code])
    }
    /// Requests of these codes so far.
    pub(crate) fn received_any(&self, codes: &[i32]) -> Vec<Received> {
        let log = self.state.log.lock();
        log.iter()
            .filter(|received| codes.contains(&received.command.code))
            .cloned()
            .collect()
    }
    /// All requests so far.
    pub(crate) fn received_all(&self) -> Vec<Received> {
        self.state.log.lock().clone()
    }
    /// Waits for that many requests of one code.
    pub(crate) async fn wait_for(&self, code: i32, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests {code}"), || {
            self.received(code).len() >= count
        })
        .await;
        self.received(code)
    }
    /// Connections ever opened, and those open now.
    pub(crate) fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }
    pub(crate) fn open_now(&self) -> usize {
        self.state.connections.lock().len()
    }
    /// Waits until every connection is closed.
    pub(crate) async fn wait_closed(&self) {
        self.wait_until("all connections closed", || self.open_now() == 0)
            .await;
    }
    /// Waits until that many connections are open.
    pub(crate) async fn wait_open(&self, count: usize) {
        self.wait_until(&format!("{count} open connections"), || {
            self.state.connections.lock().len() == count
        })
        .await;
    }
    /// Answers the held requests, oldest first.
    pub(crate) fn release(&self, mut answer: impl FnMut(&RemotingCommand) -> RemotingCommand) {
        let held = std::mem::take(&mut *self.state.held.lock());
        for (responder, command) in held {
            responder.respond(answer(&command));
        }
    }
    pub(crate) fn held(&self) -> usize {
        self.state.held.lock().len()
    }
    pub(crate) async fn wait_held(&self, count: usize) {
        self.wait_until(&format!("{count} held requests"), || self.held() >= count)
            .await;
    }
    /// Closes every connection without answering.
    pub(crate) fn cut(&self) {
        self.state.held.lock().clear();
        for connection in self.state.connections.lock().drain(..) {
            connection.close("cut by the test");
        }
    }
    /// A connection of a client, to send requests to it.
    pub(crate) fn a_connection(&self) -> Connection {
        self.state.connections.lock().first().unwrap().clone()
    }
    pub(crate) async fn stop(self) -> SocketAddr {
        let addr = self.addr().parse().unwrap();
        self.cut();
        if let Front::Socket(listener) = &self.front {
            listener.shutdown(Deadline::after(Duration::ZERO)).await;
        }
        addr
    }

    async fn wait_until(&self, what: &str, done: impl Fn() -> bool) {
        let waiting = async {
            loop {
                let news = self.state.news.notified();
                if done() {
                    return;
                }
                news.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(
            came,
            "{what} did not come; log: {:#?}",
            self.state.log.lock()
        );
    }
}

impl State {
    fn new(script: impl FnMut(&RemotingCommand) -> Action + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(script)),
            log: Mutex::default(),
            held: Mutex::default(),
            connections: Mutex::default(),
            opened: AtomicUsize::new(0),
            news: Notify::new(),
        })
    }
}

impl Handler for State {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        self.log.lock().push(Received {
            command: request.clone(),
            connection: responder.connection().id(),
            at: now(),
        });
        let action = (self.script.lock())(&request);
        match action {
            Action::Reply(reply) => responder.respond(reply),
            Action::Later(after, reply) => {
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    responder.respond(reply);
                });
            }
            Action::Silent => drop(responder),
            Action::Close => responder.connection().close("closed by the script"),
            Action::Hold => self.held.lock().push((responder, request)),
        }
        self.news.notify_waiters();
    }
    fn opened(&self, connection: &Connection) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.connections.lock().push(connection.clone());
        self.news.notify_waiters();
    }
    fn closed(&self, connection: &Connection) {
        self.connections
            .lock()
            .retain(|other| other.id() != connection.id());
        self.news.notify_waiters();
    }
}

/// Real time, or that of the runtime where a test has paused it.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// One name server and some brokers. Topics are what the test adds; [`Cluster::auto_create`] adds `TBW102`.
pub(crate) struct Cluster {
    pub(crate) name_server: FakeServer,
    pub(crate) brokers: Vec<(String, FakeServer)>,
    routes: Routes,
    /// Where the servers are, if not at sockets.
    network: Option<Arc<Network>>,
}

type Routes = Arc<Mutex<HashMap<String, TopicRouteData>>>;

impl Cluster {
    /// Brokers of these names that store everything, and a topic `T` with four queues on each.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::listening(names, &ListenerOptions::default())
    }
    /// As [`Cluster::of`], with every port configured like this.
    pub(crate) fn listening(names: &[&str], options: &ListenerOptions) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let start = |script| FakeServer::start_with(any, options.clone(), script);
        Self::build(names, start, None)
    }
    /// As [`Cluster::of`], without sockets: for tests with paused time.
    pub(crate) fn in_memory(names: &[&str]) -> Self {
        let network = Arc::<Network>::default();
        let start = |script| FakeServer::start_in(&network, script);
        Self::build(names, start, Some(Arc::clone(&network)))
    }
    fn build(
        names: &[&str],
        start: impl Fn(Script) -> FakeServer,
        network: Option<Arc<Network>>,
    ) -> Self {
        let routes = Routes::default();
        let known = Arc::clone(&routes);
        let name_server = start(Box::new(move |request| {
            Action::Reply(answer_name_server(&known, request))
        }));
        let brokers = names
            .iter()
            .map(|name| ((*name).to_owned(), start(Box::new(storing()))))
            .collect();
        let cluster = Self {
            name_server,
            brokers,
            routes,
            network,
        };
        cluster.topic("T", 4);
        cluster
    }
    /// Adds or changes a topic with that many queues on every broker.
    pub(crate) fn topic(&self, topic: &str, queues: i32) {
        self.routes
            .lock()
            .insert(topic.to_owned(), self.route(queues, 6));
    }
    pub(crate) fn set_route(&self, topic: &str, route: TopicRouteData) {
        self.routes.lock().insert(topic.to_owned(), route);
    }
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.routes.lock().remove(topic);
    }
    pub(crate) fn auto_create(&self) {
        self.routes
            .lock()
            .insert("TBW102".to_owned(), self.route(8, 7));
    }
    /// A route over all brokers of the cluster.
    pub(crate) fn route(&self, queues: i32, perm: i32) -> TopicRouteData {
        let mut route = TopicRouteData::default();
        for (name, server) in &self.brokers {
            add_broker(&mut route, name, &server.addr(), queues, perm);
        }
        route
    }
    pub(crate) fn broker(&self, name: &str) -> &FakeServer {
        &self
            .brokers
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
    }
    /// Requests of one code at all brokers, oldest first, with the broker's name.
    pub(crate) fn received(&self, code: i32) -> Vec<(String, Received)> {
        let mut all: Vec<_> = self
            .brokers
            .iter()
            .flat_map(|(name, server)| {
                server
                    .received(code)
                    .into_iter()
                    .map(move |received| (name.clone(), received))
            })
            .collect();
        all.sort_by_key(|(_, received)| received.at);
        all
    }
    pub(crate) fn script_all(
        &self,
        code: i32,
        answer: impl Fn() -> Action + Clone + Send + 'static,
    ) {
        for (_, server) in &self.brokers {
            let answer = answer.clone();
            server.script(on(code, move |_| answer()));
        }
    }
    pub(crate) fn network(&self) -> &Network {
        self.network.as_deref().unwrap()
    }
    pub(crate) fn connect(&self) -> Connect {
        self.connect_to(&self.name_server.addr())
    }
    /// As [`Cluster::connect`], with these name servers.
    pub(crate) fn connect_to(&self, name_servers: &str) -> Connect {
        let connect = Client::connect(name_servers);
        match &self.network {
            Some(network) => connect.dialer(Arc::clone(network) as _),
            None => connect,
        }
    }
    pub(crate) async fn client(&self) -> Client {
        self.connect().await.unwrap()
    }
    pub(crate) async fn producer(&self) -> Producer {
        self.client().await.producer("PG").await.unwrap()
    }
}

pub(crate) fn add_broker(
    route: &mut TopicRouteData,
    name: &str,
    addr: &str,
    queues: i32,
    perm: i32,
) {
    route.broker_datas.push(BrokerData {
        broker_name: name.to_owned(),
        cluster: "C".to_owned(),
        broker_addrs: [(0, addr.to_owned())].into(),
        ..BrokerData::default()
    });
    route.queue_datas.push(QueueData {
        broker_name: name.to_owned(),
        perm,
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..QueueData::default()
    });
}

fn answer_name_server(routes: &Routes, request: &RemotingCommand) -> RemotingCommand {
    let routes = routes.lock();
    match request.request_code() {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => {
            let header: GetRouteInfoRequest<'_> = request.header().unwrap();
            match routes.get(header.topic) {
                Some(route) => ok().with_body(body::encode_standard(route).unwrap()),
                None => refuse(17, "No topic route info in name server for the topic"),
            }
        }
        RequestCode::GET_BROKER_CLUSTER_INFO => {
            let mut cluster = ClusterInfo::default();
            for broker in routes.values().flat_map(|route| &route.broker_datas) {
                let names = cluster
                    .cluster_addr_table
                    .entry(broker.cluster.clone())
                    .or_default();
                if !names.contains(&broker.broker_name) {
                    names.push(broker.broker_name.clone());
                }
                cluster
                    .broker_addr_table
                    .insert(broker.broker_name.clone(), broker.clone());
            }
            ok().with_body(body::encode(&cluster).unwrap())
        }
        _ => refuse(3, "not in this test"),
    }
}

/// A broker that stores every message, numbering them per queue.
pub(crate) fn storing() -> impl FnMut(&RemotingCommand) -> Action + Send + 'static {
    |request| Action::Reply(stored_or_ok(request))
}

/// [`storing`], with another answer for one code.
pub(crate) fn on(
    code: i32,
    mut answer: impl FnMut(&RemotingCommand) -> Action + Send + 'static,
) -> impl FnMut(&RemotingCommand) -> Action + Send + 'static {
    move |request| {
        if request.code == code {
            answer(request)
        } else {
            Action::Reply(stored_or_ok(request))
        }
    }
}

pub(crate) fn stored_or_ok(request: &RemotingCommand) -> RemotingCommand {
    match request.code {
        10 | 310 | 320 => stored(request),
        34 | 35 => ok(),
        _ => refuse(3, "not in this test"),
    }
}

/// The answer of a broker that stored the message.
pub(crate) fn stored(request: &RemotingCommand) -> RemotingCommand {
    static OFFSET: AtomicI64 = AtomicI64::new(0);
    let header: SendMessageRequest<'_> = request.header().unwrap();
    let offset = OFFSET.fetch_add(1, Ordering::SeqCst);
    let id = rocketry_protocol::id::offset_msg_id("127.0.0.1:10911".parse().unwrap(), offset);
    ok().with_header(&SendMessageReply::new(id, header.queue_id, offset))
}

pub(crate) fn ok() -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS)
}
pub(crate) fn refuse(code: i32, remark: &str) -> RemotingCommand {
    RemotingCommand::response(ResponseCode(code)).with_remark(remark)
}

pub(crate) fn message() -> Message {
    Message::new("T", "hello")
}

/// An address where nothing listens.
pub(crate) fn dead_addr() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

/// Holds a measured time to `at`, with the slack that a loaded machine needs. What the tests tell apart is seconds away.
pub(crate) fn on_time(took: Duration, at: Duration) {
    assert!(
        at <= took && took < at + ms(1500),
        "took {took:?}, expected {at:?}"
    );
}

/// Holds a wait on paused time to its end, which timers meet to the millisecond.
#[track_caller]
pub(crate) fn punctually(started: Instant, at: Duration) {
    let took = started.elapsed();
    assert!(
        at <= took && took <= at + ms(1),
        "took {took:?}, not {at:?}"
    );
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs what `make` makes again and again, dropping it after one poll more each time, until it is done; returns how many polls that
/// took.
pub(crate) async fn polls_until_done<F: IntoFuture>(make: impl Fn() -> F) -> usize {
    use std::task::Poll;
    let mut polls = 1;
    loop {
        let mut future = Box::pin(make().into_future());
        let mut left = polls;
        let done = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 1 => Poll::Ready(false),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        });
        if done.await {
            return polls;
        }
        polls += 1;
    }
}
