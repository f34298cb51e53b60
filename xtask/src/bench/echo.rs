//! The floor: the frames of a send and of its answer, echoed over one loopback connection by two loops that do nothing else.
//!
//! Both loops are single threads with blocking sockets; each reads whatever has arrived and answers all of it in one write. No
//! client or broker can be faster than this on the same kernel; how far one stays behind is what its own work costs.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rocketry_protocol::header::{SendMessageReply, SendMessageRequest};
use rocketry_protocol::{RemotingCommand, ResponseCode};
use serde_json::{Value, json};

use super::process_cpu::cpu_seconds;
use crate::{Result, clock, output};

/// Bytes read at once: several hundred small frames.
const READ: usize = 256 * 1024;
const UNIQUE_ID: &str = "7F000001000100000000000000000001";

/// The bytes of a `SEND_MESSAGE_V2` frame with a body of `size` bytes, as a client writes it.
fn request_frame(size: usize) -> Result<BytesMut> {
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
fn reply_frame() -> Result<BytesMut> {
    let offset_id = "7F00000100002A9F0000000000ABCDEF".to_owned();
    let mut reply = SendMessageReply::new(offset_id, 3, 1_000_000);
    reply.transaction_id = Some(UNIQUE_ID.into());
    let command = RemotingCommand::response(ResponseCode::SUCCESS).with_header(&reply);
    let mut frame = BytesMut::new();
    command.encode(&mut frame)?;
    Ok(frame)
}

/// Answers every request frame of one connection after another; prints `ready ADDR` first.
pub(super) fn serve(size: usize) -> Result {
    let (request, reply) = (request_frame(size)?.len(), reply_frame()?);
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

/// What to send to [`serve`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Drive {
    pub(super) addr: SocketAddr,
    pub(super) size: usize,
    pub(super) in_flight: usize,
    pub(super) warmup: u64,
    pub(super) duration: Duration,
}

/// Keeps `in_flight` frames under way; the result has the members of `rocketry bench produce --output json` that a table needs.
pub(super) fn drive(options: Drive) -> Result<Value> {
    let (request, reply) = (request_frame(options.size)?, reply_frame()?.len());
    let mut stream = TcpStream::connect(options.addr)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; READ];
    let mut requests = Vec::new();
    let mut under_way: VecDeque<Instant> = VecDeque::with_capacity(options.in_flight);
    let mut latencies_us = Vec::new();
    let mut pending = 0;
    let (mut answered, mut started, mut cpu) = (0_u64, clock::now(), 0.0);
    let mut free = options.in_flight;
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
            answered += 1;
            if let Some(sent) = under_way.pop_front()
                && answered > options.warmup
            {
                latencies_us
                    .push(u64::try_from(now.duration_since(sent).as_micros()).unwrap_or(u64::MAX));
            }
            if answered == options.warmup {
                started = now;
                cpu = cpu_seconds(std::process::id())?;
            }
        }
        if answered > options.warmup && now.duration_since(started) >= options.duration {
            break;
        }
    }
    let seconds = clock::now().duration_since(started).as_secs_f64();
    let cpu = cpu_seconds(std::process::id())? - cpu;
    latencies_us.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let sent = latencies_us.len() as f64;
    let at = |per_mille: usize| {
        latencies_us
            .get(latencies_us.len() * per_mille / 1000)
            .copied()
    };
    Ok(json!({
        "sent": latencies_us.len(),
        "seconds": seconds,
        "msgs_per_second": sent / seconds,
        "p50_us": at(500),
        "p99_us": at(990),
        "cpu_us_per_msg": cpu * 1e6 / sent,
    }))
}
