//! Opening a connection to an address as users and routes write it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

#[cfg(feature = "tls")]
use crate::tls::TlsFailure;
use crate::{error::ConnectFailure, options::ConnectOptions, socket::Socket};

/// Opens a stream to `addr` and secures it, as the options say, all within the connect timeout.
pub(crate) async fn connect(
    addr: &str,
    options: &ConnectOptions,
) -> Result<Socket, ConnectFailure> {
    let limit = options.connect_timeout;
    let until = Instant::now() + limit;
    let open = async {
        match &options.dialer {
            None => tcp(addr, options.connection.write_timeout)
                .await
                .map(Socket::Tcp),
            Some(dialer) => {
                let dialed = dialer.dial(addr).await;
                dialed.map(Socket::Other).map_err(ConnectFailure::Dial)
            }
        }
    };
    let socket = timeout_at(until, open)
        .await
        .map_err(|_| ConnectFailure::TimedOut(limit))??;
    #[cfg(feature = "tls")]
    if let Some(tls) = &options.tls {
        let (host, _) = split(addr).map_err(|why| ConnectFailure::Address(addr.to_owned(), why))?;
        let secured = timeout_at(until, tls.connect(host, socket)).await;
        return secured
            .map_err(|_| ConnectFailure::TlsTimedOut(limit))?
            .map_err(|error| {
                let (failure, text) = TlsFailure::of_handshake(&error);
                ConnectFailure::Tls(failure, text)
            });
    }
    Ok(socket)
}

/// Resolves `addr` and connects to the first of its addresses that answers.
pub(crate) async fn tcp(addr: &str, write_timeout: Duration) -> Result<TcpStream, ConnectFailure> {
    let stream = race(resolve(addr).await?).await?;
    // Both settings make a working connection better; one that lacks them still works.
    if let Err(error) = tune(&stream, write_timeout) {
        tracing::debug!(addr, %error, "socket options not set");
    }
    Ok(stream)
}

/// Small frames must not wait for acknowledgements, and a peer that vanished must not be waited for by the operating system's
/// own patience of many minutes.
pub(crate) fn tune(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(write_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
    Ok(())
}

/// Names are resolved at every connect, so that a server may move.
async fn resolve(addr: &str) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let (host, port) = split(addr).map_err(|why| ConnectFailure::Address(addr.to_owned(), why))?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = lookup_host((host, port))
        .await
        .map_err(ConnectFailure::Resolve)?;
    let addrs: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if addrs.is_empty() {
        return Err(ConnectFailure::NoAddress);
    }
    Ok(addrs)
}

/// Host and port. IPv6 addresses come with brackets from users and without from Java brokers (`::1:10911`).
pub(crate) fn split(addr: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = addr.rsplit_once(':').ok_or("the port is missing")?;
    let port = port
        .parse()
        .map_err(|_| "the port is not a number up to 65535")?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if bare.is_empty() {
        return Err("the host is missing");
    }
    Ok((bare, port))
}

/// Tries one address after the other, the next one as soon as the last has failed or is slow; the first that connects wins.
async fn race(addrs: Vec<SocketAddr>) -> Result<TcpStream, ConnectFailure> {
    let mut failures = Vec::new();
    let mut attempts = JoinSet::new();
    let mut waiting = addrs.into_iter();
    let mut next_at = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_at
            && let Some(addr) = waiting.next()
        {
            attempts.spawn(async move {
                let connected = TcpStream::connect(addr).await;
                connected.map_err(|error| (addr, error))
            });
            next_at = now + STAGGER;
        }
        tokio::select! {
            biased;
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(failure))) => {
                    failures.push(failure);
                    next_at = now;
                }
                // The task of an attempt neither panics nor is it aborted while the set lives.
                Some(Err(_)) => {}
                None => return Err(ConnectFailure::Refused(failures)),
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {}
        }
    }
}

/// Head start of one address over the next. RFC 8305 recommends 250 ms.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_last_colon() {
        assert_eq!(split("127.0.0.1:9876"), Ok(("127.0.0.1", 9876)));
        assert_eq!(split("broker.example:10911"), Ok(("broker.example", 10911)));
        assert_eq!(split("[2001:db8::1]:10911"), Ok(("2001:db8::1", 10911)));
        assert_eq!(split("::1:10911"), Ok(("::1", 10911)));
        assert!(split("localhost").is_err());
        assert!(split("localhost:").is_err());
        assert!(split("localhost:65536").is_err());
        assert!(split(":9876").is_err());
        assert!(split("[]:9876").is_err());
        assert!(split("").is_err());
    }

    #[tokio::test]
    async fn a_refused_address_does_not_hide_the_next_one() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open_addr = open.local_addr().unwrap();
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused_addr = refused.local_addr().unwrap();
        drop(refused);
        let stream = race(vec![refused_addr, open_addr]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open_addr);
        let Err(ConnectFailure::Refused(failures)) = race(vec![refused_addr, refused_addr]).await
        else {
            panic!("connected to a closed port");
        };
        assert_eq!(failures.len(), 2);
    }
}
