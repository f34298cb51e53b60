//! Name servers: the address list, and a query that fails over along it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rocketry_protocol::{RemotingCommand, ResponseCode};
use rocketry_remoting::{Deadline, LogLimit};

use crate::{
    clock,
    error::{Attempt, Error, ErrorKind, Phase},
    lookup::Lookup,
    producer::classify,
    transport::Transport,
};

/// The addresses of a cluster's name servers.
///
/// Text has the form `host:port;host:port`; commas and blanks separate as well, an `http://` in front is dropped, and an
/// address without a port gets 9876. IPv6 addresses stand in brackets: `[::1]:9876`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameServers {
    addresses: Vec<Arc<str>>,
    lookup: Option<Lookup>,
    /// One text for each entry that is no address.
    faults: Vec<String>,
}

/// The port a name server listens on unless told otherwise.
const DEFAULT_PORT: u16 = 9876;

impl NameServers {
    /// Reads a list as text. Faults are reported when the list is used.
    pub fn new(list: &str) -> Self {
        let mut servers = Self::default();
        for (index, entry) in list
            .split([';', ',', ' ', '\t', '\n', '\r'])
            .filter(|entry| !entry.is_empty())
            .enumerate()
        {
            match parse_address(entry, DEFAULT_PORT) {
                Ok(address) => {
                    if !servers.addresses.iter().any(|known| **known == *address) {
                        servers.addresses.push(address.into());
                    }
                }
                Err(reason) => {
                    let fault = format!("name server address {} ({entry:?}): {reason}", index + 1);
                    servers.faults.push(fault);
                }
            }
        }
        servers
    }

    /// The list that a web server answers with, as `host:port;host:port` in the first line: asked when the client connects, and every
    /// [`ClientConfig::lookup_interval`](crate::ClientConfig::lookup_interval) from then on. A list that cannot be had leaves the last
    /// one; a fault of `url` is reported when the client connects.
    ///
    /// Java asks `http://<domain>:8080/rocketmq/<subgroup>` (`rocketmq.namesrv.domain`, `jmenv.tbsite.net`, and
    /// `rocketmq.namesrv.domain.subgroup`, `nsaddr`) whenever no address is configured; here the URL has to be given. Plain HTTP
    /// only, over TCP.
    pub fn lookup(url: &str) -> Self {
        let mut servers = Self::default();
        match Lookup::new(url) {
            Ok(lookup) => servers.lookup = Some(lookup),
            Err(fault) => servers.faults.push(fault),
        }
        servers
    }

    /// The list in the environment variable `NAMESRV_ADDR`, else `127.0.0.1:9876`.
    pub fn from_env() -> Self {
        std::env::var("NAMESRV_ADDR")
            .ok()
            .filter(|list| !list.trim().is_empty())
            .map_or_else(|| Self::new("127.0.0.1:9876"), |list| Self::new(&list))
    }

    /// The addresses in the order given, each `host:port`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|address| &**address)
    }

    /// Where to ask for the list, if it is to be asked for.
    pub(crate) fn lookup_mut(&mut self) -> Option<&mut Lookup> {
        self.lookup.as_mut()
    }

    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl From<&str> for NameServers {
    fn from(list: &str) -> Self {
        Self::new(list)
    }
}
impl From<String> for NameServers {
    fn from(list: String) -> Self {
        Self::new(&list)
    }
}
impl From<&String> for NameServers {
    fn from(list: &String) -> Self {
        Self::new(list)
    }
}
impl From<std::net::SocketAddr> for NameServers {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::new(&address.to_string())
    }
}

impl std::fmt::Display for NameServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, address) in self.addresses.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            f.write_str(address)?;
        }
        Ok(())
    }
}

/// Asks one name server, and the next one if it does not answer. Stays with the one that answered.
///
/// Java: `NettyRemotingClient.getAndCreateNameserverChannel`, which since 5.0 tries one server per request and lets the request fail.
#[derive(Debug)]
pub(crate) struct NameServerClient {
    list: ArcSwap<List>,
    lookup: Option<Lookup>,
    /// Why the last lookup failed.
    failure: Mutex<Option<String>>,
}

/// A list never changes: requests under way go on with the one that they began with.
#[derive(Debug)]
struct List {
    servers: Vec<Arc<str>>,
    current: AtomicUsize,
}

impl List {
    /// Starts at a random server, so that many clients spread.
    fn new(servers: &NameServers) -> Self {
        let current = match servers.addresses.len() {
            0 => 0,
            n => fastrand::usize(..n),
        };
        Self {
            servers: servers.addresses.clone(),
            current: AtomicUsize::new(current),
        }
    }

    fn current(&self) -> Option<&Arc<str>> {
        self.servers.get(self.current.load(Ordering::Relaxed))
    }
}

/// The addresses, separated by `;`.
impl std::fmt::Display for NameServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, server) in self.list.load().servers.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{server}")?;
        }
        Ok(())
    }
}

/// Nobody answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    attempts: Vec<Attempt>,
    elapsed: Duration,
    budget: Duration,
    /// What TLS has to do with it.
    tls: Option<&'static str>,
    /// Why there is no list.
    lookup: Option<String>,
}

impl NameServerClient {
    pub(crate) fn new(servers: &NameServers) -> Self {
        Self {
            list: ArcSwap::from_pointee(List::new(servers)),
            lookup: servers.lookup.clone(),
            failure: Mutex::default(),
        }
    }

    /// Whether the list is asked for.
    pub(crate) fn is_looked_up(&self) -> bool {
        self.lookup.is_some()
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.load().servers.is_empty()
    }

    /// Asks for the list, if it is to be asked for. Java: `MQClientAPIImpl.fetchNameServerAddr`.
    pub(crate) async fn look_up(&self) {
        let Some(lookup) = &self.lookup else { return };
        let failure = match lookup.ask(clock::wall_ms()).await {
            Ok(servers) => {
                self.install(&servers);
                None
            }
            Err(failure) => {
                static LIMIT: LogLimit = LogLimit::new();
                if let Some(held_back) = LIMIT.pass() {
                    tracing::warn!(
                        failure,
                        held_back,
                        "the list of name servers stays as it is"
                    );
                }
                Some(failure)
            }
        };
        *self.failure.lock() = failure;
    }

    /// The same servers in another order are no news. Stays with the one that answered last, if it is still there.
    fn install(&self, servers: &NameServers) {
        let old = self.list.load();
        let is_known = |address| old.servers.contains(address);
        if old.servers.len() == servers.addresses.len() && servers.addresses.iter().all(is_known) {
            return;
        }
        tracing::info!(%servers, "name servers");
        let list = List::new(servers);
        let kept = old
            .current()
            .and_then(|current| list.servers.iter().position(|address| address == current));
        if let Some(kept) = kept {
            list.current.store(kept, Ordering::Relaxed);
        }
        self.list.store(Arc::new(list));
    }

    /// All addresses, for what has to reach every name server.
    pub(crate) fn all(&self) -> Vec<Arc<str>> {
        self.list.load().servers.clone()
    }

    /// The one that answered last.
    pub(crate) fn current(&self) -> Arc<str> {
        self.list.load().current().cloned().unwrap_or_default()
    }

    /// Sends the request to the servers in turn until one answers, whatever the answer, but for one that says it is going away. A
    /// server that does not answer costs its share of the time that is left, not all of it.
    pub(crate) async fn call(
        &self,
        transport: &Transport,
        command: &RemotingCommand,
        deadline: Deadline,
    ) -> Result<RemotingCommand, Unanswered> {
        let started = clock::now();
        let list = self.list.load_full();
        let first = list.current.load(Ordering::Relaxed);
        let count = list.servers.len();
        let mut attempts = Vec::new();
        let mut tls = None;
        for step in 0..count {
            let index = (first + step) % count;
            let Some(address) = list.servers.get(index) else {
                break;
            };
            let begun = clock::now();
            let left = u32::try_from(count - step).unwrap_or(u32::MAX);
            let share = Deadline::at(begun + deadline.remaining() / left);
            let (phase, code, outcome) = match transport.call(address, command.clone(), share).await
            {
                Ok(reply) if reply.response_code() == ResponseCode::GO_AWAY => {
                    tls = None;
                    let code = reply.response_code();
                    (
                        Phase::Answer,
                        Some(code),
                        format!("it is going away ({code})"),
                    )
                }
                Ok(reply) => {
                    list.current.store(index, Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(error) => {
                    tls = error.tls_hint();
                    (classify(&error).1, None, error.to_string())
                }
            };
            attempts.push(Attempt {
                peer: Arc::from("name server"),
                address: Arc::clone(address),
                queue_id: None,
                started: begun.saturating_duration_since(started),
                elapsed: clock::now().saturating_duration_since(begun),
                phase,
                code,
                outcome,
            });
            if deadline.is_past() {
                break;
            }
        }
        let elapsed = clock::now().saturating_duration_since(started);
        Err(Unanswered {
            attempts,
            elapsed,
            budget: elapsed + deadline.remaining(),
            tls,
            lookup: self.failure.lock().clone(),
        })
    }
}

impl Unanswered {
    pub(crate) fn to_error(&self, action: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        let Some(last) = self.attempts.last() else {
            if let Some(failure) = &self.lookup {
                let reason = format!("no name server is known: {failure}");
                return Error::new(ErrorKind::NoNameServer, action, reason)
                    .with_hint("check the URL, and that the web server runs; it is asked again");
            }
            return Error::new(
                ErrorKind::NoNameServer,
                action,
                "no name server address is configured",
            )
            .with_hint(
                "give one to Client::connect, as in \"127.0.0.1:9876\", or set NAMESRV_ADDR",
            );
        };
        let reason = match self.attempts.len() {
            1 => format!("the name server does not answer: {}", last.outcome),
            n => format!("none of {n} name servers answers: {}", last.outcome),
        };
        Error::new(ErrorKind::NameServerUnreachable, action, reason)
            .with_attempts(self.attempts.clone())
            .with_times(self.elapsed, self.budget)
            .with_hint(self.tls.unwrap_or(
                "check that a name server runs there (`rocketry serve` starts one with a broker) and that the address is \
                 right (NAMESRV_ADDR, --namesrv)",
            ))
    }
}

/// Java: `ClientConfig.getNamesrvAddr` with `NameServerAddressUtils.NAMESRV_ENDPOINT_PATTERN`.
pub(crate) fn parse_address(entry: &str, default_port: u16) -> Result<String, &'static str> {
    let entry = match entry.split_once("://") {
        Some(("http" | "https", rest)) => rest.trim_end_matches('/'),
        Some(_) => return Err("only http:// may stand in front of an address"),
        None => entry,
    };
    let (host, port) = if let Some(rest) = entry.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        host.split('%')
            .next()
            .unwrap_or(host)
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| "not an IPv6 address between the brackets")?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("unexpected text after the bracket"),
        }
    } else {
        match entry.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("an IPv6 address needs brackets, as in [::1]:9876");
            }
            Some((host, port)) => (host, Some(port)),
            None => (entry, None),
        }
    };
    if host.is_empty() || host.contains(['/', '@', '[', ']']) {
        return Err("the host is missing or malformed");
    }
    let port = match port {
        None => default_port,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err("the port must be a number from 1 to 65535"),
        },
    };
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_every_common_form() {
        let of = |list: &str| NameServers::new(list).to_string();
        assert_eq!(of("a:1;b:2"), "a:1;b:2");
        assert_eq!(of("a:1, b:2\nc"), "a:1;b:2;c:9876");
        // P-011
        assert_eq!(of("http://host:9876"), "host:9876");
        assert_eq!(of("http://host:9876/"), "host:9876");
        assert_eq!(
            of("[::1]:9876;[fe80::1%eth0]"),
            "[::1]:9876;[fe80::1%eth0]:9876"
        );
        assert_eq!(of("a:1;a:1"), "a:1");
        assert_eq!(of(" ; "), "");
        assert!(NameServers::new("a:1").faults().is_empty());
    }

    #[test]
    fn a_bad_entry_is_named_with_its_position() {
        for (list, part) in [
            ("a:1;b:x", "address 2 (\"b:x\"): the port must be"),
            ("a:0", "the port must be"),
            ("a:70000", "the port must be"),
            ("::1", "needs brackets"),
            ("[::1", "not closed"),
            ("[x]:1", "not an IPv6"),
            (":9876", "the host is missing"),
            ("ftp://a:1", "only http://"),
        ] {
            let servers = NameServers::new(list);
            let [fault] = servers.faults() else {
                panic!("{list}: {:?}", servers.faults());
            };
            assert!(fault.contains(part), "{list}: {fault}");
        }
    }
}
