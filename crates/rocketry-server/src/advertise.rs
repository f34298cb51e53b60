//! The address that clients are told to connect to: given, or chosen with a reason that a person can check.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    str::FromStr,
    time::Duration,
};

use rocketry_protocol::body::route::BrokerData;

use crate::broker::Identity;

/// Longest wait for the address of an advertised name.
const RESOLVE: Duration = Duration::from_secs(3);

/// An address for clients, `HOST[:PORT]`; without a port, that of the listener.
///
/// ```
/// use rocketry_server::Advertise;
///
/// let named: Advertise = "mq.example.com:10911".parse()?;
/// let v6: Advertise = "[fd00::7]".parse()?;
/// assert_eq!(named.to_string(), "mq.example.com:10911");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    host: String,
    port: Option<u16>,
}

impl Advertise {
    /// The name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A name or an address, and a port unless it is the listener's.
    ///
    /// # Errors
    /// What is wrong with the host, as text.
    pub fn new(host: &str, port: Option<u16>) -> Result<Self, String> {
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => {
                return Err(format!(
                    "clients cannot connect to {ip}, which means every address"
                ));
            }
            Ok(_) => {}
            Err(_) if is_name(host) => {}
            Err(_) => return Err(format!("{host:?} is neither a name nor an IP address")),
        }
        if port == Some(0) {
            return Err("clients cannot connect to port 0".to_owned());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_ok() {
            return Self::new(text, None);
        }
        let inner = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match inner {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port
            .map(|port| {
                port.parse()
                    .map_err(|_| format!("{port:?} is not a port: write HOST or HOST:PORT"))
            })
            .transpose()?;
        Self::new(host, port)
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&host_and_port(&self.host, port)),
            None => f.write_str(&self.host),
        }
    }
}

fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253
        && labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// What clients are told, and why.
#[derive(Debug, Clone)]
pub(crate) struct Advertised {
    /// Name or address.
    host: String,
    /// Of an address that was given with one.
    port: Option<u16>,
    /// The address in stored messages and their ids: those have no names.
    pub(crate) ip: IpAddr,
    /// Whether clients of this process's name server are told the address that they came to.
    pub(crate) as_they_came: bool,
    /// Why this address, as a sentence without its end.
    pub(crate) reason: String,
    /// Who will not be able to connect, where that is likely.
    pub(crate) warning: Option<String>,
}

impl Advertised {
    /// `host:port` of the broker that listens on `port`.
    pub(crate) fn broker_addr(&self, port: u16) -> String {
        host_and_port(&self.host, self.port.unwrap_or(port))
    }

    /// The port that clients are told of a broker that listens on `port`.
    pub(crate) fn broker_port(&self, port: u16) -> u16 {
        self.port.unwrap_or(port)
    }

    /// `host:port` of the name server that listens on `port`.
    pub(crate) fn namesrv_addr(&self, port: u16) -> String {
        host_and_port(&self.host, port)
    }
}

/// Tells each client of this process's name server the address that it came to, in place of the broker's own.
#[derive(Debug)]
pub(crate) struct AsTheyCame {
    broker_name: String,
    addr: String,
    port: u16,
}

impl AsTheyCame {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            broker_name: identity.broker_name.clone(),
            addr: identity.addr.clone(),
            port: identity.store_host.port(),
        }
    }

    /// For a client whose connection has `local` as this end; `None` where the broker's own address is that one.
    pub(crate) fn seen_from(&self, local: SocketAddr) -> Option<SeenFrom<'_>> {
        let to = SocketAddr::new(local.ip().to_canonical(), self.port).to_string();
        (to != self.addr).then_some(SeenFrom { own: self, to })
    }
}

/// The broker of this process as one client sees it.
#[derive(Debug)]
pub(crate) struct SeenFrom<'a> {
    own: &'a AsTheyCame,
    to: String,
}

impl SeenFrom<'_> {
    /// Changes the address in what a name server answers about its brokers.
    pub(crate) fn rewrite<'b>(&self, brokers: impl IntoIterator<Item = &'b mut BrokerData>) {
        for broker in brokers {
            if broker.broker_name == self.own.broker_name {
                for addr in broker.broker_addrs.values_mut() {
                    self.rewrite_addr(addr);
                }
            }
        }
    }

    /// The same for one address.
    pub(crate) fn rewrite_addr(&self, addr: &mut String) {
        if *addr == self.own.addr {
            addr.clone_from(&self.to);
        }
    }
}

/// Takes what was given, or chooses by the address that is listened on.
pub(crate) async fn choose(given: Option<&Advertise>, bound: IpAddr) -> Advertised {
    if let Some(given) = given {
        return of_given(given, bound).await;
    }
    if !bound.is_unspecified() {
        return Advertised {
            host: bound.to_string(),
            port: None,
            ip: bound,
            as_they_came: true,
            reason: if bound.is_loopback() {
                "it listens on loopback, which only this machine can reach".to_owned()
            } else {
                "it is the one address listened on".to_owned()
            },
            warning: None,
        };
    }
    let interfaces = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(Interface::from).collect(),
        Err(error) => {
            tracing::warn!(%error, "the addresses of this machine cannot be listed");
            Vec::new()
        }
    };
    of_interfaces(&interfaces, outward(), bound)
}

async fn of_given(given: &Advertise, bound: IpAddr) -> Advertised {
    let mut warning = None;
    let ip = match given.ip() {
        Some(ip) => ip,
        None => match resolve(&given.host).await {
            Ok(ip) => ip,
            Err(error) => {
                let ip = fallback(bound);
                warning = Some(format!(
                    "{} has no address here ({error}): ids of messages name {ip}, and tools that look a message up by such an id will ask there",
                    given.host
                ));
                ip
            }
        },
    };
    Advertised {
        host: given.host.clone(),
        port: given.port,
        ip,
        as_they_came: false,
        reason: "it was given".to_owned(),
        warning,
    }
}

/// The first address of a name, IPv4 before IPv6.
async fn resolve(name: &str) -> Result<IpAddr, String> {
    let looked_up = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, 0)));
    let found: Vec<_> = match looked_up.await {
        Ok(Ok(found)) => found.map(|addr| addr.ip()).collect(),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {RESOLVE:?}")),
    };
    let v4 = found.iter().find(|ip| ip.is_ipv4());
    v4.or_else(|| found.first())
        .copied()
        .ok_or_else(|| "it has no addresses".to_owned())
}

fn fallback(bound: IpAddr) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    outward().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The address that this machine would use towards others. Nothing is sent: connecting a datagram socket asks for the route only.
fn outward() -> Option<IpAddr> {
    // Addresses for documentation: they lie behind the default route.
    for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let local = UdpSocket::bind(from)
            .and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
        if let Ok(local) = local
            && !local.ip().is_unspecified()
        {
            return Some(local.ip());
        }
    }
    None
}

/// One address of this machine.
#[derive(Debug, Clone)]
struct Interface {
    name: String,
    ip: IpAddr,
}

impl From<if_addrs::Interface> for Interface {
    fn from(interface: if_addrs::Interface) -> Self {
        Self {
            ip: interface.ip(),
            name: interface.name,
        }
    }
}

impl Interface {
    /// Of containers and virtual machines on this one: others cannot reach it.
    fn is_inner(&self) -> bool {
        const INNER: [&str; 8] = [
            "docker", "br-", "veth", "virbr", "vmnet", "cni", "flannel", "podman",
        ];
        INNER.iter().any(|prefix| self.name.starts_with(prefix))
    }

    fn is_link_local(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }
}

/// For a listener on every address: clients in other places need one of them.
fn of_interfaces(interfaces: &[Interface], outward: Option<IpAddr>, bound: IpAddr) -> Advertised {
    let usable = |interface: &&Interface| {
        !interface.ip.is_loopback()
            && !interface.is_link_local()
            && (bound.is_ipv6() || interface.ip.is_ipv4())
    };
    let usable: Vec<_> = interfaces.iter().filter(usable).collect();
    let by_route = usable
        .iter()
        .find(|interface| Some(interface.ip) == outward && !interface.is_inner());
    let first = || {
        let outer = usable.iter().filter(|interface| !interface.is_inner());
        outer.min_by_key(|interface| interface.ip.is_ipv6())
    };
    let (ip, reason, warning) = if let Some(found) = by_route {
        let why = format!("it is where {} leads out of this machine", found.name);
        (found.ip, why, bridge_warning(found.ip))
    } else if let Some(found) = first() {
        let why = format!(
            "{} is the first interface that others may reach",
            found.name
        );
        (found.ip, why, bridge_warning(found.ip))
    } else if let Some(found) = usable.first() {
        let why = format!("{} is the only interface", found.name);
        let warning = format!(
            "{} is for containers or virtual machines on this machine: others need --advertise HOST[:PORT]",
            found.name
        );
        (found.ip, why, Some(warning))
    } else {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let why = "this machine has no address that others could reach".to_owned();
        (loopback, why, None)
    };
    Advertised {
        host: ip.to_string(),
        port: None,
        ip,
        as_they_came: true,
        reason: format!("{reason}; every address is listened on"),
        warning,
    }
}

/// Docker hands out 172.16.0.0/12 by default: reachable from the machine that runs the container, and from nowhere else.
fn bridge_warning(ip: IpAddr) -> Option<String> {
    let IpAddr::V4(v4) = ip else { return None };
    let [a, b, ..] = v4.octets();
    (a == 172 && (16..32).contains(&b)).then(|| {
        format!("{ip} is probably a container's own address: clients on other machines need --advertise HOST[:PORT]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, ip: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
        }
    }
    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    #[test]
    fn hosts_with_and_without_ports() {
        for (text, host, port) in [
            ("10.0.0.5", "10.0.0.5", None),
            ("10.0.0.5:7", "10.0.0.5", Some(7)),
            ("mq", "mq", None),
            ("mq.example.com:10911", "mq.example.com", Some(10911)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:7", "::1", Some(7)),
        ] {
            let parsed: Advertise = text.parse().unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{text}");
        }
        for wrong in [
            "", ":1", "a:", "a:b", "a:0", "a:70000", "a b", "0.0.0.0", "[::]:1", "a..b", "[::1]7x",
        ] {
            assert!(wrong.parse::<Advertise>().is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_is_listened_on_is_what_is_told() {
        let chosen = choose(None, "127.0.0.1".parse().unwrap()).await;
        assert_eq!(chosen.broker_addr(10911), "127.0.0.1:10911");
        assert!(chosen.reason.contains("loopback"), "{}", chosen.reason);
        let v6 = choose(None, "::1".parse().unwrap()).await;
        assert_eq!(v6.broker_addr(10911), "[::1]:10911");
    }

    #[tokio::test]
    async fn what_is_given_is_taken_and_names_are_looked_up() {
        let given = "localhost:7".parse().unwrap();
        let chosen = choose(Some(&given), ANY).await;
        assert_eq!(chosen.broker_addr(10911), "localhost:7");
        assert_eq!(chosen.namesrv_addr(9876), "localhost:9876");
        assert!(chosen.ip.is_loopback() && !chosen.as_they_came);
        let nowhere = "no-such-host.invalid".parse().unwrap();
        let chosen = choose(Some(&nowhere), "127.0.0.1".parse().unwrap()).await;
        assert_eq!(chosen.broker_addr(1), "no-such-host.invalid:1");
        assert_eq!(chosen.ip, Ipv4Addr::LOCALHOST);
        assert!(chosen.warning.unwrap().contains("no-such-host.invalid"));
    }

    #[test]
    fn the_way_out_is_preferred_and_containers_are_not() {
        let interfaces = [
            interface("lo", "127.0.0.1"),
            interface("docker0", "172.17.0.1"),
            interface("tun0", "10.8.0.2"),
            interface("eth0", "192.168.1.7"),
            interface("eth0", "fe80::1"),
        ];
        let chosen = of_interfaces(&interfaces, Some("192.168.1.7".parse().unwrap()), ANY);
        assert_eq!(chosen.host, "192.168.1.7");
        assert!(chosen.reason.contains("eth0") && chosen.warning.is_none());
        let chosen = of_interfaces(&interfaces, None, ANY);
        assert_eq!(chosen.host, "10.8.0.2");
    }

    #[test]
    fn addresses_that_others_hardly_reach_are_told() {
        let container = [
            interface("lo", "127.0.0.1"),
            interface("eth0", "172.17.0.5"),
        ];
        let chosen = of_interfaces(&container, Some("172.17.0.5".parse().unwrap()), ANY);
        assert_eq!(chosen.host, "172.17.0.5");
        assert!(chosen.warning.unwrap().contains("--advertise"));
        let bridge = [interface("docker0", "172.17.0.1")];
        assert!(
            of_interfaces(&bridge, None, ANY)
                .warning
                .unwrap()
                .contains("docker0")
        );
        let alone = of_interfaces(&[interface("lo", "127.0.0.1")], None, ANY);
        assert_eq!(alone.host, "127.0.0.1");
        assert!(alone.reason.contains("no address"), "{}", alone.reason);
    }
}
