//! The floors: the frames of a send and of its answer, echoed over one loopback connection.
//!
//! The server is one thread with a blocking socket that reads whatever has arrived and answers all of it in one write. `loop` sends to it
//! the same way: what the frames alone cost on this kernel; no client with callers can be as fast. `echo` has callers: as many tasks
//! as are in flight, each of which adds its frame to one buffer and waits until it is woken, and a writing and a reading task on
//! one worker thread. It does nothing that is RocketMQ's: no header, no route, no table of requests, no deadline. A client that
//! serves independent callers over one connection cannot be much cheaper.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rocketry_protocol::header::{SendMessageReply, SendMessageRequest};
use rocketry_protocol::{RemotingCommand, ResponseCode};

use super::callers;
use super::figures::Figures;
use super::process_usage::{cpu_us, memory, own_cpu_us};
use crate::{Result, clock, output};

/// Bytes read at once: several hundred small frames.
pub(super) const READ: usize = 256 * 1024;
const UNIQUE_ID: &str = "7F000001000100000000000000000001";

/// `cargo xtask echo-serve`: the server half of the floors, a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct EchoServe {
    #[arg(long)]
    size: usize,
}

/// `cargo xtask echo-drive`: the client half.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EchoDrive {
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    pub(super) addr: SocketAddr,
    #[arg(long)]
    pub(super) size: usize,
    #[arg(long)]
    pub(super) in_flight: usize,
    #[arg(long)]
    warm: f64,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    watch: u32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Echo,
    Loop,
}

/// The bytes of a `SEND_MESSAGE_V2` frame with a body of `size` bytes, as a client writes it.
pub(super) fn request_frame(size: usize) -> Result<BytesMut> {
    let request = SendMessageRequest {
        producer_group: "rocketry_cli",
        topic: "bench",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        born_timestamp: 1_700_000_000_000,
        properties: &format!("UNIQ_KEY\u{1}{UNIQUE_ID}\u{2}WAIT\u{1}true\u{2}"),
        broker_name: Some("broker-a"),
        ..SendMessageRequest::default()
    };
    let command = RemotingCommand::request(&request).with_body(vec![b'x'; size]);
    let mut frame = BytesMut::new();
    command.encode(&mut frame)?;
    Ok(frame)
}

/// The bytes of the answer to it.
pub(super) fn reply_frame() -> Result<BytesMut> {
    let offset_id = "7F00000100002A9F0000000000ABCDEF".to_owned();
    let mut reply = SendMessageReply::new(offset_id, 3, 1_000_000);
    reply.transaction_id = Some(UNIQUE_ID.into());
    let command = RemotingCommand::response(ResponseCode::SUCCESS).with_header(&reply);
    let mut frame = BytesMut::new();
    command.encode(&mut frame)?;
    Ok(frame)
}

/// Answers every request frame of one connection after another; prints `ready ADDR` first.
pub(crate) fn echo_serve(options: &EchoServe) -> Result {
    let (request, reply) = (request_frame(options.size)?.len(), reply_frame()?);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    output::line(format_args!("ready {}", listener.local_addr()?));
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let mut pending = 0;
        let mut buffer = vec![0; READ];
        let mut replies = Vec::new();
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            pending += read;
            replies.clear();
            while pending >= request {
                pending -= request;
                replies.extend_from_slice(&reply);
            }
            stream.write_all(&replies)?;
        }
    }
    Ok(())
}

/// Keeps frames under way and prints figures.
pub(crate) fn echo_drive(options: &EchoDrive) -> Result {
    let figures = match options.kind {
        Kind::Echo => callers::drive(options)?,
        Kind::Loop => drive(options)?,
    };
    output::line(serde_json::to_string(&figures)?);
    Ok(())
}

impl EchoDrive {
    pub(super) fn warm(&self) -> Duration {
        Duration::from_secs_f64(self.warm)
    }

    pub(super) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// The clocks at one end of the measured phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    at: Instant,
    own_us: f64,
    server_us: f64,
}

impl Clocks {
    pub(super) fn read(options: &EchoDrive) -> Result<Self> {
        Ok(Self {
            server_us: cpu_us(options.watch)?,
            own_us: own_cpu_us(),
            at: clock::now(),
        })
    }

    /// What passed since, with the latencies of all messages.
    pub(super) fn figures(self, end: Self, mut latencies_us: Vec<u32>) -> Result<Figures> {
        latencies_us.sort_unstable();
        let at = |per_mille: usize| {
            let index = latencies_us.len() * per_mille / 1000;
            latencies_us.get(index).copied().map(f64::from)
        };
        Ok(Figures {
            messages: u64::try_from(latencies_us.len())?,
            seconds: end.at.duration_since(self.at).as_secs_f64(),
            p50_us: at(500),
            p99_us: at(990),
            p999_us: at(999),
            cpu_us: end.own_us - self.own_us,
            watched_cpu_us: Some(end.server_us - self.server_us),
            max_rss_bytes: Some(memory(std::process::id())?.peak),
            ..Figures::default()
        })
    }
}

pub(super) fn us_since(sent: Instant, now: Instant) -> u32 {
    u32::try_from(now.duration_since(sent).as_micros()).unwrap_or(u32::MAX)
}

fn drive(options: &EchoDrive) -> Result<Figures> {
    let (request, reply) = (request_frame(options.size)?, reply_frame()?.len());
    let mut stream = TcpStream::connect(options.addr)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; READ];
    let mut requests = Vec::new();
    let mut under_way: VecDeque<Instant> = VecDeque::with_capacity(options.in_flight);
    let mut latencies_us = Vec::new();
    let mut pending = 0;
    let mut free = options.in_flight;
    let began = clock::now();
    let mut start: Option<Clocks> = None;
    loop {
        requests.clear();
        for _ in 0..free {
            requests.extend_from_slice(&request);
            under_way.push_back(clock::now());
        }
        stream.write_all(&requests)?;
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the echo server closed the connection".into());
        }
        pending += read;
        free = 0;
        let now = clock::now();
        while pending >= reply {
            pending -= reply;
            free += 1;
            if let Some(sent) = under_way.pop_front()
                && start.is_some()
            {
                latencies_us.push(us_since(sent, now));
            }
        }
        match start {
            None if now.duration_since(began) >= options.warm() => {
                start = Some(Clocks::read(options)?);
            }
            Some(start) if now.duration_since(start.at) >= options.measured() => {
                return start.figures(Clocks::read(options)?, latencies_us);
            }
            _ => {}
        }
    }
}
