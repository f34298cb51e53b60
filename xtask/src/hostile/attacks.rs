//! The attacks. Each runs on a thread of its own until it is told to stop, and says what it did.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use rocketry::{Message, Producer};
use rocketry_protocol::header::{PopMessageRequest, PullMessageRequest, pull_sys_flag};
use rocketry_protocol::{RemotingCommand, RequestCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::measured::{Wire, frame};

/// Whom to attack, and until when.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) broker: String,
    pub(super) namesrv: String,
    pub(super) stop: Arc<AtomicBool>,
}

impl Target {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn ports(&self) -> [&str; 2] {
        [&self.broker, &self.namesrv]
    }
}

type Running = Pin<Box<dyn Future<Output = Result<String>>>>;
pub(super) type Attack = fn(Target) -> Running;

pub(super) const ATTACKS: [(&str, Attack); 9] = [
    ("malformed frames", |target| Box::pin(malformed(target))),
    ("random bytes", |target| Box::pin(random(target))),
    ("half frames and 1 GiB lengths", |target| {
        Box::pin(unfinished(target))
    }),
    ("slow senders", |target| Box::pin(slow_senders(target))),
    ("slow readers", |target| Box::pin(slow_readers(target))),
    ("connection flood", |target| Box::pin(flood(target))),
    ("10,000 parked pulls", |target| Box::pin(parked(target))),
    ("parked pulls woken together", |target| {
        Box::pin(woken(target))
    }),
    ("pops never acknowledged", |target| Box::pin(pops(target))),
];

/// Between two blows of the attacks that strike again and again: some hundred a second.
const BEAT: Duration = Duration::from_millis(3);

/// Runs one attack to its end, on this thread.
pub(super) fn run(attack: Attack, target: Target) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(attack(target))
}

/// Messages for those who read.
pub(super) async fn prepare(producer: &Producer) -> Result {
    for _ in 0..12 {
        producer
            .send(Message::new("large", vec![b'x'; 250_000]))
            .await?;
    }
    for topic in ["parked", "woken"] {
        for _ in 0..4 {
            producer.send(Message::new(topic, "first")).await?;
        }
    }
    for _ in 0..500 {
        producer
            .send(Message::new("popped", vec![b'x'; 100]))
            .await?;
    }
    Ok(())
}

async fn strike(addr: &str, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(addr).await else {
        return;
    };
    // The server may end the connection at any byte.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
}

async fn malformed(target: Target) -> Result<String> {
    let text = include_str!("../../../crates/rocketry-protocol/tests/vectors/negative.json");
    let file: serde_json::Value = serde_json::from_str(text)?;
    let mut frames = Vec::new();
    for (list, field) in [
        ("frames", "hex"),
        ("server", "sent_hex"),
        ("messages", "hex"),
    ] {
        let cases = file.get(list).and_then(serde_json::Value::as_array);
        for case in cases.into_iter().flatten() {
            let text = case.get(field).and_then(serde_json::Value::as_str);
            frames.extend(text.map(from_hex));
        }
    }
    let mut sent = 0_usize;
    let mut turns = frames.iter().cycle();
    while target.goes_on() {
        let bytes = turns.next().ok_or("no malformed frames")?;
        for addr in target.ports() {
            strike(addr, bytes).await;
        }
        sent += 1;
        sleep(BEAT).await;
    }
    Ok(format!(
        "{sent} frames of {} kinds to each port",
        frames.len()
    ))
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| hex.get(at..at + 2).unwrap_or("00");
    let byte = |at| u8::from_str_radix(digits(at), 16).unwrap_or(0);
    (0..hex.len()).step_by(2).map(byte).collect()
}

async fn random(target: Target) -> Result<String> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut sent = 0;
    while target.goes_on() {
        let mut bytes: Vec<u8> = (0..random.usize(1..8000)).map(|_| random.u8(..)).collect();
        if random.bool() {
            // Past the length word, into the header.
            let length = u32::try_from(bytes.len())?;
            bytes.splice(
                0..0,
                (length + 4).to_be_bytes().into_iter().chain([0, 0, 0, 40]),
            );
        }
        for addr in target.ports() {
            strike(addr, &bytes).await;
        }
        sent += 1;
        sleep(BEAT).await;
    }
    Ok(format!("{sent} to each port"))
}

async fn unfinished(target: Target) -> Result<String> {
    let mut start = BytesMut::new();
    start.put_u32(16 * 1024 * 1024 - 4);
    start.put_u32(100);
    start.put_slice(&vec![b'{'; 4096]);
    let mut open = Vec::new();
    for _ in 0..500 {
        for addr in target.ports() {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(&start).await?;
            open.push(stream);
        }
    }
    let mut lengths = 0;
    while target.goes_on() {
        for addr in target.ports() {
            strike(addr, &(1_u32 << 30).to_be_bytes()).await;
        }
        lengths += 1;
        sleep(BEAT).await;
    }
    Ok(format!(
        "{} half frames open, {lengths} lengths of 1 GiB to each port",
        open.len()
    ))
}

async fn slow_senders(target: Target) -> Result<String> {
    let request = frame(RemotingCommand::bare_request(
        RequestCode::GET_BROKER_CONFIG,
    ))?;
    let mut slow = Vec::new();
    for _ in 0..500 {
        let stream = TcpStream::connect(&target.broker).await?;
        stream.set_nodelay(true)?;
        slow.push(stream);
    }
    let mut bytes = 0_usize;
    let mut turns = request.iter().cycle();
    while target.goes_on() {
        let byte = turns.next().ok_or("an empty frame")?;
        for stream in &mut slow {
            stream.write_all(std::slice::from_ref(byte)).await?;
            let _ = stream.try_read(&mut [0; 4096]);
        }
        bytes += 1;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(format!("{} of them, {bytes} bytes each", slow.len()))
}

async fn slow_readers(target: Target) -> Result<String> {
    let mut frames = BytesMut::new();
    for opaque in 0..400 {
        let mut command = RemotingCommand::request(&pull("large", opaque % 4, 0, 0));
        command.opaque = opaque;
        command.encode(&mut frames)?;
    }
    let mut deaf = Vec::new();
    while target.goes_on() {
        if deaf.len() < 300 {
            let mut stream = TcpStream::connect(&target.broker).await?;
            let _ = timeout(Duration::from_millis(20), stream.write_all(&frames)).await;
            deaf.push(stream);
        } else {
            sleep(BEAT).await;
        }
    }
    Ok(format!("{} connections asked for 100 MB each", deaf.len()))
}

async fn flood(target: Target) -> Result<String> {
    let mut open = std::collections::VecDeque::new();
    let mut count = 0;
    while target.goes_on() {
        for addr in target.ports() {
            for _ in 0..5 {
                if let Ok(stream) = TcpStream::connect(addr).await {
                    open.push_back(stream);
                    count += 1;
                }
            }
        }
        // More than the server takes are open at once.
        while open.len() > 6000 {
            open.pop_front();
        }
        sleep(BEAT).await;
    }
    Ok(format!("{count} connections"))
}

const PARKED: i32 = 10_000;

async fn park(target: &Target, topic: &str, offset: i64) -> Result<Vec<Wire>> {
    let mut wires = Vec::new();
    for connection in 0..20 {
        let mut frames = BytesMut::new();
        for n in 0..PARKED / 20 {
            let mut command = RemotingCommand::request(&pull(topic, n % 4, offset, 60_000));
            command.opaque = connection * PARKED + n;
            command.encode(&mut frames)?;
        }
        let mut wire = Wire::connect(&target.broker).await?;
        wire.send(&frames).await?;
        wires.push(wire);
    }
    Ok(wires)
}

async fn parked(target: Target) -> Result<String> {
    let wires = park(&target, "parked", 1).await?;
    while target.goes_on() {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(format!(
        "{} connections with {} each",
        wires.len(),
        PARKED / 20
    ))
}

/// Every second all of them are woken, answered and parked again.
async fn woken(target: Target) -> Result<String> {
    let client = rocketry::Client::connect(&*target.namesrv).await?;
    let producer = client.producer("wakers").await?;
    let mut rounds = 0;
    while target.goes_on() {
        let mut wires = park(&target, "woken", 1 + rounds).await?;
        sleep(Duration::from_millis(500)).await;
        // One message for each queue.
        for _ in 0..4 {
            producer.send(Message::new("woken", "more")).await?;
        }
        for wire in &mut wires {
            let _ = timeout(
                Duration::from_secs(2),
                wire.answers(usize::try_from(PARKED / 20)?),
            )
            .await;
        }
        rounds += 1;
    }
    producer.shutdown(Duration::from_secs(1)).await;
    Ok(format!("{rounds} rounds of {PARKED}"))
}

async fn pops(target: Target) -> Result<String> {
    let client = rocketry::Client::connect(&*target.namesrv).await?;
    let producer = client.producer("careful").await?;
    let mut wire = Wire::connect(&target.broker).await?;
    let mut taken = 0;
    while target.goes_on() {
        let born = std::time::UNIX_EPOCH.elapsed()?.as_millis();
        let pop = PopMessageRequest {
            consumer_group: "careless",
            topic: "popped",
            queue_id: -1,
            max_msg_nums: 32,
            invisible_time: 10_000,
            poll_time: 0,
            born_time: i64::try_from(born)?,
            init_mode: 0,
            exp_type: Some("TAG"),
            exp: Some("*"),
            order: Some(false),
            attempt_id: None,
            broker_name: None,
        };
        wire.send(&frame(RemotingCommand::request(&pop))?).await?;
        let answer = wire.answers(1).await?.pop();
        taken += usize::from(answer.is_some_and(|answer| answer.code == 0));
        // There is always something to take.
        producer
            .send(Message::new("popped", vec![b'x'; 100]))
            .await?;
        sleep(BEAT).await;
    }
    producer.shutdown(Duration::from_secs(1)).await;
    Ok(format!("{taken} pops that found messages"))
}

fn pull(topic: &str, queue_id: i32, offset: i64, wait_ms: i64) -> PullMessageRequest<'_> {
    let suspend = if wait_ms > 0 {
        pull_sys_flag::SUSPEND
    } else {
        0
    };
    PullMessageRequest {
        consumer_group: "CG",
        topic,
        lite_topic: None,
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: pull_sys_flag::SUBSCRIPTION | suspend,
        commit_offset: 0,
        suspend_timeout_millis: wait_ms,
        subscription: Some("*"),
        sub_version: 0,
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
        broker_name: None,
    }
}
