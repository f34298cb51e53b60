//! The simulated cluster: hosts with addresses, what is wrong with each of them, and a log of all that happens.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use rocketry_protocol::{RemotingCommand, ResponseCode, header::OffsetReply};
use tokio::{sync::Notify, time::Instant};

use crate::{
    broker::{Broker, Quirk, Scene},
    line::{Answer, Cut, Mode},
    name_server::{self, NameServer, Topics},
};

pub(crate) type HostId = usize;

/// A handle to the cluster, which is also the client's way to it.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    started: Instant,
    /// By host: something about it has changed.
    news: Vec<Arc<Notify>>,
    state: Mutex<State>,
}

/// All of the cluster.
pub(crate) struct State {
    pub(crate) random: fastrand::Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) topics: Topics,
    /// Broker name -> the address under which name servers know it.
    pub(crate) registered: BTreeMap<String, String>,
    trace: String,
    started: Instant,
    lines: u64,
    /// Client ends.
    lines_open: usize,
    /// Server ends, by number.
    serving: BTreeMap<u64, HostId>,
    /// What hosts send without being asked, by connection.
    outbox: BTreeMap<u64, Vec<Bytes>>,
    over: bool,
}

/// A broker or name server.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) kind: Kind,
    /// Rises when the host forgets its connections.
    pub(crate) epoch: u32,
    pub(crate) state: HostState,
    /// Time to answer, in milliseconds.
    pub(crate) delay_ms: (u64, u64),
    /// Answers leave in pieces of this many bytes, one each millisecond.
    pub(crate) drop_bytes: Option<usize>,
    /// Connections up to this number end now.
    pub(crate) cut: Option<(u64, Cut)>,
}

pub(crate) enum Kind {
    Broker(Broker),
    NameServer(NameServer),
}

/// Whether a host can be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostState {
    Up,
    /// Nothing listens; connections have ended.
    Down,
    Frozen,
    Void,
}

/// What a connection attempt meets.
pub(crate) enum Reach {
    Nobody,
    Void,
    Host {
        id: HostId,
        epoch: u32,
        buffer: usize,
    },
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(crate) fn new(random: fastrand::Rng, brokers: usize, name_servers: usize) -> Self {
        let started = Instant::now();
        let brokers = (0..brokers).map(|n| {
            let name = format!("broker-{}", char::from(b'a' + u8::try_from(n).unwrap_or(0)));
            Host::new(
                name,
                format!("10.0.{n}.1:10911"),
                Kind::Broker(Broker::default()),
            )
        });
        let name_servers = (0..name_servers).map(|n| {
            Host::new(
                format!("names-{n}"),
                format!("10.1.{n}.1:9876"),
                Kind::NameServer(NameServer::default()),
            )
        });
        let hosts: Vec<_> = brokers.chain(name_servers).collect();
        let registered = hosts
            .iter()
            .filter(|host| matches!(host.kind, Kind::Broker(_)))
            .map(|host| (host.name.clone(), host.address.clone()))
            .collect();
        let news = hosts.iter().map(|_| Arc::new(Notify::new())).collect();
        let state = State {
            random,
            hosts,
            topics: Topics::default(),
            registered,
            trace: String::new(),
            started,
            lines: 0,
            lines_open: 0,
            serving: BTreeMap::new(),
            outbox: BTreeMap::new(),
            over: false,
        };
        Self(Arc::new(Inner {
            started,
            news,
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Changes a host and tells its connections.
    pub(crate) fn change(&self, id: HostId, change: impl FnOnce(&mut State, HostId)) {
        change(&mut self.lock(), id);
        self.0.news[id].notify_waiters();
    }

    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    pub(crate) fn news(&self, id: HostId) -> Arc<Notify> {
        Arc::clone(&self.0.news[id])
    }

    pub(crate) fn trace(&self, what: fmt::Arguments<'_>) {
        self.lock().note(what);
    }

    /// All that happened, a line each.
    pub(crate) fn take_trace(&self) -> String {
        std::mem::take(&mut self.lock().trace)
    }

    /// Addresses of the name servers, as a client is told them.
    pub(crate) fn name_servers(&self) -> String {
        let state = self.lock();
        let addresses: Vec<_> = state
            .hosts
            .iter()
            .filter(|host| matches!(host.kind, Kind::NameServer(_)))
            .map(|host| host.address.as_str())
            .collect();
        addresses.join(";")
    }

    /// By host: whether it is a broker.
    pub(crate) fn kinds(&self) -> Vec<bool> {
        let state = self.lock();
        let kinds = state.hosts.iter().map(|host| &host.kind);
        kinds.map(|kind| matches!(kind, Kind::Broker(_))).collect()
    }

    /// Client ends of connections, and server ends with a task each.
    pub(crate) fn lines(&self) -> (usize, usize) {
        let state = self.lock();
        (state.lines_open, state.serving.len())
    }

    /// Ends every connection.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        for news in &self.0.news {
            news.notify_waiters();
        }
    }

    pub(crate) fn reach(&self, addr: &str) -> Reach {
        let mut state = self.lock();
        let found = state.hosts.iter().position(|host| host.address == addr);
        let Some(id) = found else {
            state.note(format_args!("dial {addr}: nobody there"));
            return Reach::Nobody;
        };
        let host = &state.hosts[id];
        let (name, now) = (host.name.clone(), host.state);
        state.note(format_args!("dial {name}: {now:?}"));
        match now {
            HostState::Down => Reach::Nobody,
            HostState::Void => Reach::Void,
            HostState::Up | HostState::Frozen => Reach::Host {
                id,
                epoch: state.hosts[id].epoch,
                buffer: state.buffer(),
            },
        }
    }

    pub(crate) fn line_opened(&self, host: HostId, buffer: usize) -> u64 {
        let mut state = self.lock();
        state.lines += 1;
        state.lines_open += 1;
        let (number, name) = (state.lines, state.hosts[host].name.clone());
        state.serving.insert(number, host);
        state.note(format_args!("{name} #{number} open, {buffer} bytes"));
        number
    }

    pub(crate) fn line_dropped(&self) {
        self.lock().lines_open -= 1;
    }

    pub(crate) fn line_ended(&self, host: HostId, number: u64, cut: Cut) {
        let mut state = self.lock();
        state.serving.remove(&number);
        state.outbox.remove(&number);
        let name = state.hosts[host].name.clone();
        state.note(format_args!("{name} #{number} ended: {cut:?}"));
    }

    /// What a host does with connection `number`, which was made in `epoch`.
    pub(crate) fn mode(&self, id: HostId, epoch: u32, number: u64) -> Mode {
        let state = self.lock();
        let host = &state.hosts[id];
        match (host.state, host.cut) {
            _ if state.over => Mode::End(Cut::Close),
            (HostState::Void, _) => Mode::Still,
            (_, Some((last, cut))) if number <= last => Mode::End(cut),
            (HostState::Down, _) => Mode::End(Cut::Reset),
            _ if epoch != host.epoch => Mode::Stale,
            (HostState::Frozen, _) => Mode::Still,
            (HostState::Up, _) => Mode::Serve,
        }
    }

    /// What the host wants to send on the connection now.
    pub(crate) fn outbox(&self, number: u64) -> Vec<Bytes> {
        self.lock().outbox.remove(&number).unwrap_or_default()
    }

    /// Every broker that works asks, on its newest connection, about transactions that are undecided for long.
    pub(crate) fn check_transactions(&self) {
        let mut told = Vec::new();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            let at_ms = state.now_ms();
            for id in 0..state.hosts.len() {
                let host = &state.hosts[id];
                let newest = state.serving.iter().rev().find(|(_, host)| **host == id);
                let (Kind::Broker(broker), Some((line, _)), HostState::Up) =
                    (&host.kind, newest, host.state)
                else {
                    continue;
                };
                let checks = broker.checks(&host.name, at_ms);
                if !checks.is_empty() {
                    let (line, name, count) = (*line, host.name.clone(), checks.len());
                    state.outbox.entry(line).or_default().extend(checks);
                    state.note(format_args!("{name} #{line} checks {count} transactions"));
                    told.push(id);
                }
            }
        }
        for id in told {
            self.0.news[id].notify_waiters();
        }
    }

    pub(crate) fn drop_bytes(&self, id: HostId) -> Option<usize> {
        self.lock().hosts[id].drop_bytes
    }

    /// What the host answers to a request.
    pub(crate) fn answer(&self, id: HostId, line: u64, request: &RemotingCommand) -> Vec<Answer> {
        if request.is_response() {
            // to a reply that was pushed
            return Vec::new();
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let (low, high) = state.hosts[id].delay_ms;
        let delay = Duration::from_millis(state.random.u64(low..=high));
        let name = state.hosts[id].name.clone();
        let at_ms = state.now_ms();
        let (what, answers) = match &mut state.hosts[id].kind {
            Kind::Broker(broker) => {
                let mut scene = Scene {
                    name: &name,
                    at_ms,
                    delay,
                    topics: &mut state.topics,
                    random: &mut state.random,
                };
                broker.answer(request, &mut scene)
            }
            Kind::NameServer(_) => name_server::answer(state, id, request, delay),
        };
        state.note(format_args!("{name} #{line} {what}"));
        if request.is_oneway() && state.random.u8(0..4) > 0 {
            // a peer that does answer must not harm either
            return Vec::new();
        }
        answers
    }
}

impl Host {
    fn new(name: String, address: String, kind: Kind) -> Self {
        Self {
            name,
            address,
            kind,
            epoch: 0,
            state: HostState::Up,
            delay_ms: (0, 2),
            drop_bytes: None,
            cut: None,
        }
    }
}

impl State {
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let ms = self.now_ms();
        // writing to a string does not fail
        let _ = writeln!(self.trace, "{ms:>7} {what}");
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Number of the newest connection.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// A socket buffer: sometimes so small that frames travel in pieces.
    fn buffer(&mut self) -> usize {
        match self.random.u8(0..10) {
            0 => 64,
            1 | 2 => 700,
            _ => 64 * 1024,
        }
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = (&str, &Broker)> {
        self.hosts.iter().filter_map(|host| match &host.kind {
            Kind::Broker(broker) => Some((host.name.as_str(), broker)),
            Kind::NameServer(_) => None,
        })
    }

    pub(crate) fn set_quirk(&mut self, id: HostId, quirk: Option<(Quirk, u8)>) {
        match &mut self.hosts[id].kind {
            Kind::Broker(broker) => broker.quirk = quirk,
            Kind::NameServer(server) => server.quirk = quirk.map(|(quirk, _)| quirk),
        }
    }
}

pub(crate) fn ok() -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS)
}

pub(crate) fn refuse(code: i32, remark: &str) -> RemotingCommand {
    RemotingCommand::response(ResponseCode(code)).with_remark(remark)
}

/// The bytes of an answer to `request`.
pub(crate) fn frame(reply: RemotingCommand, request: &RemotingCommand) -> Bytes {
    encoded(&reply.answering(request))
}

pub(crate) fn encoded(command: &RemotingCommand) -> Bytes {
    let mut out = BytesMut::new();
    command.encode(&mut out).expect("a small frame");
    out.freeze()
}

/// The answer to a probe.
pub(crate) fn offset(offset: i64) -> RemotingCommand {
    ok().with_header(&OffsetReply { offset })
}
