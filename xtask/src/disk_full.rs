//! `cargo xtask disk-full`: our server on a tmpfs that is too small, from the first refusal until sends succeed again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocketry::{Client, Message, Producer};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::interop::{Rocketry, Serve, ServeOptions};
use crate::process::run_ok;
use crate::{Result, output, root};

/// The index alone takes 20 MiB once keys are spread over its slots.
const DISK_MIB: u64 = 128;
/// Kept by a file of somebody else, who removes it in the end.
const BALLAST_MIB: u64 = 48;
const BODY_BYTES: usize = 64 * 1024;
const TOPIC: &str = "disk_full";
const CODE: i32 = 14;
/// The promise: sends succeed so long after there is space.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(2);

/// `cargo xtask disk-full`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Test this binary instead of building the workspace's `rocketry`
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
}

/// Fails if a promise is broken. Says that it skipped where mounting is not permitted, and succeeds.
pub(crate) async fn run(options: Options) -> Result {
    let rocketry = Rocketry::find(options.bin, false).await?;
    let dir = root().join(format!("target/disk-full-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let Some(disk) = Disk::mount(dir.join("disk")).await? else {
        std::fs::remove_dir_all(&dir)?;
        output::line(format_args!(
            "SKIPPED: mounting a tmpfs is not permitted to this user; run as root"
        ));
        return Ok(());
    };
    for flush in ["async", "sync"] {
        let began = Instant::now();
        one(&rocketry, &disk.path, &dir, flush).await?;
        output::line(format_args!(
            "ok --flush {flush} ({:.1} s)",
            began.elapsed().as_secs_f64()
        ));
    }
    disk.unmount().await?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// A mounted tmpfs; unmounted when dropped, too.
struct Disk {
    path: PathBuf,
    mounted: bool,
}

impl Disk {
    /// `None` where mounting is not permitted.
    async fn mount(path: PathBuf) -> Result<Option<Self>> {
        std::fs::create_dir_all(&path)?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={DISK_MIB}m"))
            .arg("tmpfs")
            .arg(&path);
        let done = mount.output().await?;
        if done.status.success() {
            return Ok(Some(Self {
                path,
                mounted: true,
            }));
        }
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let refused = ["permission denied", "must be superuser", "not permitted"];
        if refused
            .iter()
            .any(|word| text.to_lowercase().contains(word))
        {
            return Ok(None);
        }
        Err(format!("mount of a tmpfs on {}: {text}", path.display()).into())
    }

    async fn unmount(mut self) -> Result {
        run_ok(Command::new("umount").arg(&self.path), PATIENCE).await?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = std::process::Command::new("umount")
                .arg("-l")
                .arg(&self.path)
                .status();
        }
    }
}

/// S-032, S-113 on a real disk: one server, never restarted, is short of space twice: below its limit, and without a free byte.
async fn one(rocketry: &Rocketry, disk: &Path, dir: &Path, flush: &'static str) -> Result {
    let data = disk.join(format!("data-{flush}"));
    let ballast = disk.join("ballast");
    fill(&ballast, BALLAST_MIB << 20)?;
    let options = ServeOptions {
        flush: Some(flush),
        ..ServeOptions::default()
    };
    let log = dir.join(format!("serve-{flush}.log"));
    let serve = Serve::start(rocketry, &data, &log, &options).await?;
    let client = Client::connect(serve.namesrv.as_str()).await?;
    let producer = client.producer("disk_full").retries(0).await?;
    let mut load = Load {
        producer: &producer,
        acknowledged: BTreeMap::new(),
        next: 0,
    };

    let remark = load.until_refused(BODY_BYTES).await?;
    check_remark(&remark, &data)?;
    load.read_back(&client).await?;
    output::line(format_args!(
        "   refused after {} messages of {BODY_BYTES} bytes: {remark}",
        load.acknowledged.len()
    ));
    std::fs::remove_file(&ballast)?;
    let first = load.until_taken().await?;

    // not a byte is left: what the server cannot see coming
    fill(&ballast, u64::MAX)?;
    let remark = load.until_refused(1024).await?;
    check_remark(&remark, &data)?;
    load.read_back(&client).await?;
    output::line(format_args!("   refused without a free byte: {remark}"));
    std::fs::remove_file(&ballast)?;
    let second = load.until_taken().await?;
    load.read_back(&client).await?;
    output::line(format_args!(
        "   sends succeeded {first:.1?} and {second:.1?} after there was space; {} messages are there",
        load.acknowledged.len()
    ));

    client.shutdown(Duration::from_secs(1)).await;
    serve.stop().await?;
    let mut check = rocketry.command();
    check.args(["store", "check"]).arg(&data);
    run_ok(&mut check, PATIENCE).await?;
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

/// Writes a file of `bytes`, or as many as there is place for.
fn fill(path: &Path, bytes: u64) -> Result {
    let mut file = File::create(path)?;
    let piece = vec![1; 4096];
    for _ in 0..bytes / 4096 {
        match file.write_all(&piece) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            other => other?,
        }
    }
    Ok(())
}

/// The remark names the path, what is free and what has to be.
fn check_remark(remark: &str, data: &Path) -> Result {
    let data = data.display().to_string();
    for part in [
        "disk is full",
        &data,
        " bytes free",
        "at least ",
        " are required",
    ] {
        if !remark.contains(part) {
            return Err(format!("{part:?} is not in {remark:?}").into());
        }
    }
    Ok(())
}

/// One sender, and what was acknowledged.
struct Load<'a> {
    producer: &'a Producer,
    /// Number of the message by its place.
    acknowledged: BTreeMap<(i32, i64), u64>,
    next: u64,
}

impl Load<'_> {
    /// Sends one message; the remark of a refusal with code 14.
    async fn send(&mut self, bytes: usize) -> Result<Option<String>> {
        let mut body = format!("{} ", self.next).into_bytes();
        body.resize(bytes, b'x');
        let message = Message::new(TOPIC, noise(body, self.next));
        match self.producer.send(message).await {
            Ok(sent) => {
                let place = (sent.queue.queue_id, sent.queue_offset);
                if self.acknowledged.insert(place, self.next).is_some() {
                    return Err(format!("{place:?} was given twice").into());
                }
                self.next += 1;
                Ok(None)
            }
            Err(error) => match (error.response_code().map(|code| code.0), error.remark()) {
                (Some(CODE), Some(remark)) => Ok(Some(remark.to_owned())),
                _ => Err(format!("not a refusal with code {CODE}: {error}").into()),
            },
        }
    }

    async fn until_refused(&mut self, bytes: usize) -> Result<String> {
        let refused = async {
            loop {
                if let Some(remark) = self.send(bytes).await? {
                    return Ok(remark);
                }
            }
        };
        timeout(PATIENCE, refused)
            .await
            .map_err(|_| "the disk was never full")?
    }

    /// The time until a send succeeded.
    async fn until_taken(&mut self) -> Result<Duration> {
        let began = Instant::now();
        while let Some(remark) = self.send(1024).await? {
            if began.elapsed() > BACK_WITHIN {
                return Err(format!("{BACK_WITHIN:?} after there was space: {remark}").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(began.elapsed())
    }

    /// Everything acknowledged is at its place, with its content.
    async fn read_back(&self, client: &Client) -> Result {
        let mut reader = client.reader(TOPIC).await?;
        let mut found = 0;
        while found < self.acknowledged.len() {
            let batch = reader.next_batch(Duration::from_secs(10)).await?;
            if batch.is_empty() {
                return Err(format!(
                    "{found} of {} messages can be read",
                    self.acknowledged.len()
                )
                .into());
            }
            for message in batch {
                let place = (message.queue_id, message.queue_offset);
                let Some(number) = self.acknowledged.get(&place) else {
                    return Err(format!("nobody was told of a message at {place:?}").into());
                };
                if !message.body.starts_with(format!("{number} ").as_bytes()) {
                    return Err(format!("the message at {place:?} is not number {number}").into());
                }
                found += 1;
            }
        }
        Ok(())
    }
}

/// Fills a body behind its number with bytes that no compression shortens.
fn noise(mut body: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let from = body
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(0, |at| at + 1);
    for byte in body.iter_mut().skip(from) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        [_, _, _, _, *byte, ..] = state.to_be_bytes();
    }
    body
}
