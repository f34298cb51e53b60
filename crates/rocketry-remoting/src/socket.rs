//! A connected stream: a plain socket, or whatever else carries bytes.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

use crate::dial::Dialed;

pub(crate) enum Socket {
    /// By itself, because its halves need no lock between them and no indirection.
    Tcp(TcpStream),
    Other(Dialed),
}

impl Socket {
    /// The peer's address and this side's.
    pub(crate) fn addrs(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => Ok((stream.peer_addr()?, stream.local_addr()?)),
            Self::Other(dialed) => Ok((dialed.peer, dialed.local)),
        }
    }
}
