//! A disk that runs full under a server, and files that retention removes.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rocketry_protocol::{
    RemotingCommand,
    header::{PullMessageReply, QueryConsumerOffsetRequest},
};
use rocketry_server::{Server, ServerConfig};
use rocketry_store::{
    FileSystem,
    fs::{File, OpenMode, RealFileSystem},
};
use tokio::time::Instant;

use crate::{
    common::{TIMEOUT, Wire, decode, pull, request_to, send},
    real_disk::{as_on_disk, as_the_file},
};

/// The real disk, except for how much space it says it has.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Space>);

#[derive(Debug, Default)]
struct Space {
    free: AtomicU64,
    /// Whether writes fail for want of space.
    is_full: AtomicBool,
}

const TOTAL: u64 = 1 << 40;

impl Disk {
    fn new(free: u64) -> Self {
        let disk = Self::default();
        disk.0.free.store(free, Ordering::Relaxed);
        disk
    }

    fn set(&self, free: u64, is_full: bool) {
        self.0.free.store(free, Ordering::Relaxed);
        self.0.is_full.store(is_full, Ordering::Relaxed);
    }
}

impl FileSystem for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealFileSystem.open(path, mode)?;
        Ok(Arc::new(DiskFile(file, Arc::clone(&self.0))))
    }
    fn sync_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(self.0.free.load(Ordering::Relaxed))
    }
    fn total_bytes(&self, _: &Path) -> Option<u64> {
        Some(TOTAL)
    }
    as_on_disk!(rename remove list create_dir sync_dir lock);
}

#[derive(Debug)]
struct DiskFile(Arc<dyn File>, Arc<Space>);

impl File for DiskFile {
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if self.1.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(buf, offset)
    }
    as_the_file!(0: read_at length set_len zero_range sync);
}

/// Sends to queue 0 of `topic` until the answer has the wanted code, and returns it and how many messages were stored.
async fn send_until(wire: &Wire, topic: &str, code: i32) -> (RemotingCommand, usize) {
    let mut stored = 0;
    let answer = tokio::time::timeout(TIMEOUT, async {
        loop {
            let answer = wire.broker(send(&request_to(topic), "x")).await;
            stored += usize::from(answer.code == 0);
            if answer.code == code {
                return answer;
            }
            assert!([0, 14].contains(&answer.code), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let answer = answer.await.unwrap();
    (answer, stored)
}

/// S-032: below the limit of free space, and where the system takes no more bytes, sends are answered 14 with path, free space and
/// limit; what is stored can be read all the while; and they succeed again within 10 s once there is space.
#[tokio::test]
async fn s032_a_full_disk_refuses_sends_until_there_is_space() {
    let disk = Disk::new(100 << 30);
    let mut config = ServerConfig::temp();
    config.flush_interval = Duration::from_millis(5);
    let server = Server::start_on(Arc::new(disk.clone()), config).await;
    let wire = Wire::to(server.unwrap());
    let (_, mut stored) = send_until(&wire, "T", 0).await;
    // little space; none at all, which is noticed by the next write; and none with the first message of a topic
    for (free, is_full, topic) in [(1 << 20, false, "T"), (0, true, "T"), (0, true, "New")] {
        disk.set(free, is_full);
        let (refused, before) = send_until(&wire, topic, 14).await;
        stored += before;
        let remark = refused.remark.unwrap();
        let data = wire.server.data_dir().display().to_string();
        let parts = [
            "the broker's disk is full",
            &data,
            &format!("{free} bytes free"),
            "at least 268435456 are required",
        ];
        for part in parts {
            assert!(remark.contains(part), "{part:?} is not in {remark:?}");
        }
        assert_eq!(wire.read_all("T", 0).await.len(), stored);

        disk.set(100 << 30, false);
        let back = Instant::now();
        let (_, again) = send_until(&wire, "T", 0).await;
        stored += again;
        assert!(back.elapsed() < Duration::from_secs(10), "{back:?}");
    }
    assert_eq!(wire.read_all("T", 0).await.len(), stored);
    // the topic whose first message was refused is there by now
    let (_, sent) = send_until(&wire, "New", 0).await;
    assert_eq!(sent, 1);
    wire.server.shutdown(TIMEOUT).await.unwrap();
}

/// S-057: after retention removed the first files of the log, a pull of what is gone is answered 21 with the first offset that is left;
/// a consumer that goes on there gets every message that is left, in order.
#[tokio::test]
async fn s057_a_pull_of_what_retention_removed_goes_on_at_the_first_left() {
    const MESSAGES: i64 = 60;
    let mut config = ServerConfig::temp();
    config.files.log_bytes = 16 * 1024;
    config.flush_interval = Duration::from_millis(5);
    // what is asked for by code 329 goes whatever its age
    config.retention.reserved = Duration::ZERO;
    config.retention.hours = Vec::new();
    let wire = Wire::with(config).await;
    for n in 0..MESSAGES {
        let body = format!("{n} {}", "x".repeat(1000));
        wire.put("T", 0, "", &body).await;
    }
    let before = wire.ask_broker(&pull("T", 0, 0)).await;
    assert_eq!(before.code, 0);

    let delete = RemotingCommand::bare_request(rocketry_protocol::RequestCode(329));
    assert_eq!(wire.broker(delete).await.code, 0);
    let gone = wire.ask_broker(&pull("T", 0, 0)).await;
    assert_eq!(
        (gone.code, gone.remark.as_deref()),
        (21, Some("OFFSET_TOO_SMALL"))
    );
    let header: PullMessageReply = gone.header().unwrap();
    let first = header.next_begin_offset;
    assert!(0 < first && first < MESSAGES, "{header:?}");
    assert_eq!(header.min_offset, first);
    assert_eq!(header.max_offset, MESSAGES);

    let (mut next, mut read) = (first, Vec::new());
    while next < header.max_offset {
        let answer = wire.ask_broker(&pull("T", 0, next)).await;
        assert_eq!(answer.code, 0);
        for message in decode(&answer.body) {
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            read.push(body.split(' ').next().unwrap().parse::<i64>().unwrap());
        }
        next = answer
            .header::<PullMessageReply>()
            .unwrap()
            .next_begin_offset;
    }
    assert_eq!(read, (first..MESSAGES).collect::<Vec<_>>());
    // the last offset that is gone, and the first that is left
    assert_eq!(wire.ask_broker(&pull("T", 0, first - 1)).await.code, 21);
    assert_eq!(wire.ask_broker(&pull("T", 0, first)).await.code, 0);
}

/// S-058 for a queue whose first message was removed: a group without an offset does not begin at 0.
#[tokio::test]
async fn s058_an_unknown_offset_is_not_0_where_message_0_is_gone() {
    let mut config = ServerConfig::temp();
    config.files.log_bytes = 16 * 1024;
    config.retention.reserved = Duration::ZERO;
    config.retention.hours = Vec::new();
    let wire = Wire::with(config).await;
    for _ in 0..40 {
        wire.put("T", 0, "", &"x".repeat(1000)).await;
    }
    let query = QueryConsumerOffsetRequest {
        consumer_group: "G",
        topic: "T",
        queue_id: 0,
        set_zero_if_not_found: None,
        broker_name: None,
    };
    let there = wire.ask_broker(&query).await;
    assert_eq!((there.code, there.field("offset")), (0, Some("0")));
    let delete = RemotingCommand::bare_request(rocketry_protocol::RequestCode(329));
    assert_eq!(wire.broker(delete).await.code, 0);
    assert_eq!(wire.ask_broker(&pull("T", 0, 0)).await.code, 21, "gone");
    assert_eq!(wire.ask_broker(&query).await.code, 22);
}
