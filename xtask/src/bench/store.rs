//! The store alone, against loops of `pwrite`, `fdatasync` and `pread` over the same bytes on the same disk.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rocketry_store::{FlushMode, NewMessage, ReadLimits, Reader, Store, StoreOptions, Writer};
use serde::{Deserialize, Serialize};

use super::process_usage::own_cpu_us;
use crate::{Result, clock, output};

/// Messages of a commit: what meets in the server's writer at 64 in flight.
const COMMIT: u64 = 64;
const QUEUES: i32 = 4;
const TOPIC: &str = "bench";
const NOW_MS: i64 = 1_700_000_000_000;
const LOG_FILE: u64 = 1 << 30;
const BODY: usize = 1024;

/// `cargo xtask store-bench`: a process of its own, so that its CPU time is the store's.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreBench {
    /// Empty, on the disk that is to be measured
    #[arg(long)]
    dir: PathBuf,
    /// Seconds of each run that is not bounded by its bytes
    #[arg(long)]
    seconds: f64,
    /// Log for reading and recovery, MiB
    #[arg(long)]
    mib: u64,
}

/// One measurement, ours beside the floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measure {
    pub(super) name: String,
    /// What a message, or for recoveries a MiB of log, is counted in.
    pub(super) unit: String,
    pub(super) rocketry: Rate,
    pub(super) floor: Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Microseconds of CPU per unit.
    pub(super) cpu_us: f64,
}

/// Prints one JSON array.
pub(crate) fn run(options: &StoreBench) -> Result {
    let duration = Duration::from_secs_f64(options.seconds);
    let mut measures = Vec::new();
    for (name, flush) in [
        ("append, async flush", FlushMode::Async),
        ("append, sync flush", FlushMode::Sync),
    ] {
        let dir = options.dir.join("append");
        let (rocketry, record) = append(&dir, flush, duration)?;
        let floor = write_floor(&options.dir.join("floor"), record, flush, duration)?;
        std::fs::remove_dir_all(&dir)?;
        measures.push(Measure {
            name: name.to_owned(),
            unit: "messages".to_owned(),
            rocketry,
            floor,
        });
    }
    let dir = options.dir.join("log");
    let bytes = fill(&dir, options.mib)?;
    measures.push(read(&dir, bytes, duration)?);
    measures.extend(recoveries(&dir)?);
    std::fs::remove_dir_all(&dir)?;
    output::line(serde_json::to_string(&measures)?);
    Ok(())
}

fn options(flush: FlushMode) -> StoreOptions {
    StoreOptions {
        log_file_bytes: LOG_FILE,
        flush,
        ..StoreOptions::default()
    }
}

/// From its start on.
struct Timer {
    began: Instant,
    cpu_us: f64,
}

impl Timer {
    fn start() -> Self {
        Self {
            cpu_us: own_cpu_us(),
            began: clock::now(),
        }
    }

    fn rate(&self, units: f64) -> Rate {
        let seconds = self.began.elapsed().as_secs_f64();
        Rate {
            per_second: units / seconds,
            cpu_us: (own_cpu_us() - self.cpu_us) / units,
        }
    }
}

struct Messages {
    body: Vec<u8>,
    properties: String,
    host: SocketAddr,
}

impl Messages {
    fn new() -> Self {
        let mut body = vec![0; BODY];
        fastrand::Rng::with_seed(9876).fill(&mut body);
        Self {
            body,
            properties: format!("UNIQ_KEY\u{1}{:032X}\u{2}WAIT\u{1}true\u{2}", 0xABCD),
            host: SocketAddr::from(([127, 0, 0, 1], 10911)),
        }
    }

    fn message(&self, number: u64) -> NewMessage<'_> {
        NewMessage {
            topic: TOPIC,
            queue_id: i32::try_from(number % 4).unwrap_or_default() % QUEUES,
            flag: 0,
            sys_flag: 0,
            born_ms: NOW_MS,
            born_host: self.host,
            store_host: self.host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: self.properties.as_bytes(),
            body: &self.body,
        }
    }

    /// One commit; the bytes of its records.
    fn commit(&self, writer: &mut Writer, number: &mut u64) -> Result<u64> {
        let mut bytes = 0;
        for _ in 0..COMMIT {
            let placed = writer.append(&self.message(*number), NOW_MS)?;
            bytes += u64::try_from(placed.bytes)?;
            *number += 1;
        }
        writer.commit()?;
        Ok(bytes)
    }
}

/// The rate, and the bytes of a record.
fn append(dir: &Path, flush: FlushMode, duration: Duration) -> Result<(Rate, u64)> {
    let (mut writer, _reader, _) = Store::open(dir, options(flush), NOW_MS)?;
    let messages = Messages::new();
    let (mut number, mut bytes) = (0, messages.commit(&mut writer, &mut 0)?);
    let timer = Timer::start();
    while timer.began.elapsed() < duration {
        bytes = messages.commit(&mut writer, &mut number)?;
    }
    let rate = timer.rate(super::figures::float(number));
    writer.close()?;
    Ok((rate, bytes / COMMIT))
}

/// The same bytes by themselves: one write a commit, and a sync where the store syncs.
fn write_floor(file: &Path, record: u64, flush: FlushMode, duration: Duration) -> Result<Rate> {
    let bytes = usize::try_from(record * COMMIT)?;
    let (writes, timer) = write_loop(file, bytes, flush, duration)?;
    Ok(timer.rate(super::figures::float(writes * COMMIT)))
}

/// How often a second `bytes` are written and synced, one time after the other.
pub(super) fn syncs_per_second(file: &Path, bytes: usize, duration: Duration) -> Result<f64> {
    let (writes, timer) = write_loop(file, bytes, FlushMode::Sync, duration)?;
    Ok(timer.rate(super::figures::float(writes)).per_second)
}

/// Writes `bytes` at a time into files like those of the log; how often, and the time that it took.
fn write_loop(
    file: &Path,
    bytes: usize,
    flush: FlushMode,
    duration: Duration,
) -> Result<(u64, Timer)> {
    let chunk = vec![b'x'; bytes];
    let bytes = u64::try_from(bytes)?;
    let open = || -> Result<File> {
        let _ = std::fs::remove_file(file);
        let file = File::create(file)?;
        file.set_len(LOG_FILE)?;
        Ok(file)
    };
    let mut log = open()?;
    let (mut at, mut writes) = (0, 0);
    let timer = Timer::start();
    while timer.began.elapsed() < duration {
        if at + bytes > LOG_FILE {
            log = open()?;
            at = 0;
        }
        log.write_all_at(&chunk, at)?;
        if flush == FlushMode::Sync {
            log.sync_data()?;
        }
        at += bytes;
        writes += 1;
    }
    std::fs::remove_file(file)?;
    Ok((writes, timer))
}

/// A log as a killed server leaves it, of at least `mib` MiB; its bytes.
fn fill(dir: &Path, mib: u64) -> Result<u64> {
    let (mut writer, _reader, _) = Store::open(dir, options(FlushMode::Async), NOW_MS)?;
    let messages = Messages::new();
    let (mut number, mut bytes) = (0, 0);
    while bytes < mib << 20 {
        bytes += messages.commit(&mut writer, &mut number)?;
    }
    writer.sync()?;
    Ok(bytes)
}

/// Queue after queue, from the page cache.
fn read(dir: &Path, bytes: u64, duration: Duration) -> Result<Measure> {
    let (writer, reader, _) = Store::open(dir, options(FlushMode::Async), NOW_MS)?;
    read_all(&reader, Duration::ZERO)?;
    let timer = Timer::start();
    let messages = read_all(&reader, duration)?;
    let rocketry = timer.rate(super::figures::float(messages));
    writer.close()?;
    // The messages of a queue lie between those of three others, and come in one read that covers them all.
    let record = bytes / (bytes / u64::try_from(BODY)?).max(1);
    let chunk = usize::try_from(record * 32 * u64::try_from(QUEUES)?)?;
    let file = File::open(dir.join("commitlog/00000000000000000000"))?;
    let end = file.metadata()?.len().min(bytes);
    let mut buffer = vec![0; chunk];
    let (mut at, mut messages) = (0, 0);
    let timer = Timer::start();
    while timer.began.elapsed() < duration {
        if at + u64::try_from(chunk)? > end {
            at = 0;
        }
        file.read_exact_at(&mut buffer, at)?;
        at += u64::try_from(chunk)?;
        messages += 32;
    }
    Ok(Measure {
        name: "read, 32 at a time".to_owned(),
        unit: "messages".to_owned(),
        rocketry,
        floor: timer.rate(super::figures::float(messages)),
    })
}

/// Every message at least once, and for at least `duration`.
fn read_all(reader: &Reader, duration: Duration) -> Result<u64> {
    let limits = ReadLimits::default();
    let began = clock::now();
    let mut messages = 0;
    loop {
        for queue in 0..QUEUES {
            let mut offset = 0;
            loop {
                let read = reader.read(TOPIC, queue, offset, &limits, None)?;
                if read.count == 0 {
                    break;
                }
                messages += u64::try_from(read.count)?;
                offset = read.next_offset;
            }
        }
        if began.elapsed() >= duration {
            return Ok(messages);
        }
    }
}

/// Starts of a store: after a kill, and without what is derived from the log.
fn recoveries(dir: &Path) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for name in ["start after a kill", "rebuild of all derived files"] {
        if name.starts_with("rebuild") {
            for derived in ["consumequeue", "index", "checkpoint"] {
                let path = dir.join(derived);
                if path.is_dir() {
                    std::fs::remove_dir_all(path)?;
                } else if path.exists() {
                    std::fs::remove_file(path)?;
                }
            }
        }
        let timer = Timer::start();
        let (writer, _reader, recovery) = Store::open(dir, options(FlushMode::Async), NOW_MS)?;
        let mib = super::figures::float(u64::try_from(recovery.log_end)?) / f64::from(1 << 20);
        let rocketry = timer.rate(mib);
        // Dropped as by a kill: the next start has to look again.
        drop(writer);
        measures.push(Measure {
            name: name.to_owned(),
            unit: "MiB of log".to_owned(),
            rocketry,
            floor: sequential_read(dir, u64::try_from(recovery.log_end)?)?,
        });
    }
    Ok(measures)
}

/// The log, `end` bytes, read once from one end to the other, a MiB at a time.
fn sequential_read(dir: &Path, end: u64) -> Result<Rate> {
    let timer = Timer::start();
    let mut buffer = vec![0; 1 << 20];
    let mut files: Vec<_> = std::fs::read_dir(dir.join("commitlog"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut done = 0;
    for path in files {
        let file = File::open(path)?;
        let mut at = 0;
        while done < end {
            let read = file.read_at(&mut buffer, at)?;
            if read == 0 {
                break;
            }
            at += u64::try_from(read)?;
            done += u64::try_from(read)?;
        }
    }
    Ok(timer.rate(super::figures::float(done) / f64::from(1 << 20)))
}
