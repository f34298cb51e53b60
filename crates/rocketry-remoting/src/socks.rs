//! Reaching servers through SOCKS5 proxies (RFC 1928, RFC 1929).
//!
//! Java: `com.rocketmq.socks.proxy.config`, `NettyRemotingClient.getProxy`.

use std::{fmt, io, net::IpAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    connect,
    dial::{Dial, DialFuture, Dialed},
};

/// A proxy, and what is reached through it. The default is everything, host names included, which the proxy resolves.
#[derive(Clone)]
#[must_use = "nothing goes through it until it is given to a client"]
pub struct SocksProxy {
    address: String,
    user: Option<(String, String)>,
    networks: Vec<String>,
}

impl SocksProxy {
    /// The proxy at `host:port`.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            user: None,
            networks: Vec::new(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who to the proxy this client is, where it wants to know. Name and password, 1 to 255 bytes each, travel in the clear.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// Only addresses of this network (`10.0.0.0/8`, `2001:db8::/32`) are reached through the proxy; may be repeated. Host names are
    /// in no network, but in `0.0.0.0/0`, which is everything.
    pub fn network(mut self, cidr: impl Into<String>) -> Self {
        self.networks.push(cidr.into());
        self
    }
}

/// Secrets are not for logs.
impl fmt::Debug for SocksProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocksProxy")
            .field("address", &self.address)
            .field("networks", &self.networks)
            .finish_non_exhaustive()
    }
}

/// Connects through the first proxy that is for an address, and directly where none is.
#[derive(Debug)]
pub struct SocksDialer(Vec<Route>);

#[derive(Debug)]
struct Route {
    proxy: SocksProxy,
    /// Everything if empty.
    networks: Vec<Network>,
}

impl SocksDialer {
    /// Checks the proxies.
    ///
    /// # Errors
    /// Everything that is wrong, one text each.
    pub fn new(proxies: impl IntoIterator<Item = SocksProxy>) -> Result<Self, Vec<String>> {
        let (mut routes, mut faults) = (Vec::new(), Vec::new());
        for proxy in proxies {
            let address = &proxy.address;
            if let Err(why) = connect::split(address) {
                faults.push(format!("SOCKS proxy {address:?}: {why}"));
            }
            if let Some((user, password)) = &proxy.user
                && [user, password]
                    .iter()
                    .any(|text| !(1..=255).contains(&text.len()))
            {
                faults.push(format!(
                    "SOCKS proxy {address:?}: name and password must have 1 to 255 bytes"
                ));
            }
            let mut networks = Vec::new();
            for cidr in proxy.networks.iter().filter(|cidr| *cidr != EVERYTHING) {
                match Network::parse(cidr) {
                    Some(network) => networks.push(network),
                    None => faults.push(format!(
                        "SOCKS proxy {address:?}: {cidr:?} is no network, write 10.0.0.0/8"
                    )),
                }
            }
            if networks.len() < proxy.networks.len() {
                networks.clear();
            }
            routes.push(Route { proxy, networks });
        }
        if faults.is_empty() {
            Ok(Self(routes))
        } else {
            Err(faults)
        }
    }

    fn proxy_for(&self, host: &str) -> Option<&SocksProxy> {
        let ip = host.parse::<IpAddr>().ok();
        self.0
            .iter()
            .find(|route| {
                route.networks.is_empty()
                    || ip
                        .is_some_and(|ip| route.networks.iter().any(|network| network.contains(ip)))
            })
            .map(|route| &route.proxy)
    }
}

impl Dial for SocksDialer {
    fn dial<'a>(&'a self, addr: &'a str) -> DialFuture<'a> {
        Box::pin(async move {
            let (host, port) = connect::split(addr).map_err(io::Error::other)?;
            let proxy = self.proxy_for(host);
            let to = proxy.map_or(addr, |proxy| &proxy.address);
            let mut stream = connect::tcp(to, WRITE_TIMEOUT).await.map_err(|failure| {
                io::Error::other(match proxy {
                    Some(_) => format!("SOCKS proxy {to}: {failure}"),
                    None => failure.to_string(),
                })
            })?;
            let (mut peer, local) = (stream.peer_addr()?, stream.local_addr()?);
            if let Some(proxy) = proxy {
                ask(&mut stream, proxy, host, port).await.map_err(|error| {
                    io::Error::new(error.kind(), format!("SOCKS proxy {to}: {error}"))
                })?;
                if let Ok(ip) = host.parse::<IpAddr>() {
                    peer = (ip, port).into();
                }
            }
            Ok(Dialed::new(stream, peer, local))
        })
    }
}

/// Has the proxy connect to `host`.
async fn ask(stream: &mut TcpStream, proxy: &SocksProxy, host: &str, port: u16) -> io::Result<()> {
    let greeting: &[u8] = match proxy.user {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
    };
    stream.write_all(greeting).await?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(io::Error::other("it does not speak SOCKS5"));
    }
    match (method, &proxy.user) {
        (NO_AUTHENTICATION, _) => {}
        (USER_AND_PASSWORD, Some((user, password))) => {
            let mut request = vec![1];
            for text in [user, password] {
                request.push(short_len(text)?);
                request.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&request).await?;
            let [_, status] = read(stream).await?;
            if status != 0 {
                return Err(io::Error::other("it refuses name and password"));
            }
        }
        _ => {
            return Err(io::Error::other(
                "it wants a name and password, or another proof",
            ));
        }
    }
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(IPV4);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(IPV6);
            request.extend(ip.octets());
        }
        Err(_) => {
            request.extend([NAME, short_len(host)?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let [_, reply, _, form] = read(stream).await?;
    if reply != 0 {
        return Err(io::Error::other(refusal(reply)));
    }
    // the address it connects from, which nobody needs
    let length = match form {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1>(stream).await?[0]),
        _ => return Err(io::Error::other("its answer has an unknown form")),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

async fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn short_len(text: &str) -> io::Result<u8> {
    u8::try_from(text.len()).map_err(|_| io::Error::other("a name is longer than 255 bytes"))
}

fn refusal(reply: u8) -> &'static str {
    match reply {
        2 => "its rules do not allow the connection",
        3 => "the network is unreachable from there",
        4 => "the host is unreachable from there",
        5 => "the server refuses the connection",
        6 => "the server did not answer in time",
        7 | 8 => "it does not support the request",
        _ => "it failed",
    }
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy)]
struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(cidr: &str) -> Option<Self> {
        let (first, bits) = cidr.split_once('/')?;
        let (first, bits) = (first.parse::<IpAddr>().ok()?, bits.parse().ok()?);
        let most = if first.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { first, bits })
    }

    fn contains(self, ip: IpAddr) -> bool {
        let differing = match (self.first, ip.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => (first.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V6(first), IpAddr::V6(ip)) => (first.to_bits() ^ ip.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= self.bits
    }
}

/// Host names are in it as well. Java: `RemotingHelper.DEFAULT_CIDR_ALL`.
const EVERYTHING: &str = "0.0.0.0/0";
/// As [`ConnectionOptions::write_timeout`](crate::ConnectionOptions::write_timeout) unless configured.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_the_addresses_that_begin_like_them() {
        let holds = |cidr, ip: &str| Network::parse(cidr).unwrap().contains(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3/32", "10.1.2.3") && !holds("10.1.2.3/32", "10.1.2.2"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_first_proxy_that_is_for_an_address_is_taken() {
        let dialer = SocksDialer::new([
            SocksProxy::new("inner:1")
                .network("10.0.0.0/8")
                .network("192.168.0.0/16"),
            SocksProxy::new("v6:1").network("2001:db8::/32"),
        ])
        .unwrap();
        let of = |host| dialer.proxy_for(host).map(|proxy| &*proxy.address);
        assert_eq!(of("192.168.1.1"), Some("inner:1"));
        assert_eq!(of("2001:db8::1"), Some("v6:1"));
        assert_eq!((of("8.8.8.8"), of("broker.test")), (None, None));
        let everything = SocksProxy::new("a:1")
            .network("10.0.0.0/8")
            .network(EVERYTHING);
        let dialer = SocksDialer::new([everything]).unwrap();
        assert!(dialer.proxy_for("broker.test").is_some() && dialer.proxy_for("8.8.8.8").is_some());
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = SocksDialer::new([
            SocksProxy::new("host")
                .network("x")
                .credentials("", "secret"),
            SocksProxy::new("host:99999"),
        ])
        .unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:?}");
        let printed = format!("{:?}", SocksProxy::new("a:1").credentials("user", "secret"));
        assert!(!printed.contains("secret"), "{printed}");
    }
}
