//! A `rocketry serve` whose memory and processor time are watched from outside, and the plainest client there is.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rocketry_protocol::RemotingCommand;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Result;
use crate::bench::process_usage;
use crate::interop::Rocketry;
use crate::process::Running;

const READY: Duration = Duration::from_secs(20);
/// Nothing that is asked here takes longer unless the server hangs.
const ANSWER: Duration = Duration::from_mins(1);

/// The running server.
#[derive(Debug)]
pub(crate) struct Measured {
    running: Running,
    pub(crate) namesrv: String,
    pub(crate) broker: String,
    metrics: String,
    pid: u32,
}

impl Measured {
    /// `rocketry serve --temp` on free ports with further options; its log goes to `log`.
    pub(crate) async fn start(rocketry: &Rocketry, log: &Path, more: &[&str]) -> Result<Self> {
        let mut command = rocketry.command();
        command.args([
            "serve",
            "--temp",
            "--namesrv-port",
            "0",
            "--metrics-port",
            "0",
        ]);
        command.args(["--output", "json"]).args(more);
        let mut running = Running::start("rocketry serve", &mut command, log.to_owned())?;
        let line = running.line_with("\"namesrv\"", READY).await?;
        running.drain();
        let ready: serde_json::Value = serde_json::from_str(&line)?;
        let field = |name: &str| {
            let value = ready
                .get(name)
                .and_then(|value| value.as_str().map(str::to_owned));
            value.ok_or_else(|| format!("no {name} in {line}"))
        };
        Ok(Self {
            namesrv: field("namesrv")?,
            broker: field("broker")?,
            metrics: field("metrics")?,
            pid: running.pid().ok_or("it has ended")?,
            running,
        })
    }

    /// Processor time so far, seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        Ok(process_usage::cpu_us(self.pid)? / 1e6)
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        Ok(self.memory()?.resident)
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> Result<process_usage::Memory> {
        process_usage::memory(self.pid)
    }

    /// A value of the metrics page: the first series that contains `series`.
    pub(crate) async fn metric(&self, series: &str) -> Result<f64> {
        metrics(&self.metrics).await?.value(series)
    }

    pub(crate) async fn stop(self) -> Result {
        let status = self.running.stop().await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("rocketry serve: {status} after SIGTERM").into())
        }
    }
}

/// What a server's metrics say at one time.
#[derive(Debug)]
pub(crate) struct Metrics(String);

/// The page at `addr`.
pub(crate) async fn metrics(addr: &str) -> Result<Metrics> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await?;
    let mut text = String::new();
    timeout(ANSWER, stream.read_to_string(&mut text)).await??;
    Ok(Metrics(text))
}

impl Metrics {
    /// The value of the first series that contains `series`.
    pub(crate) fn value(&self, series: &str) -> Result<f64> {
        let mut lines = self.0.lines();
        let line = lines
            .find(|line| line.contains(series) && !line.starts_with('#'))
            .ok_or_else(|| format!("no {series} among the metrics"))?;
        let value = line.rsplit_once(' ').ok_or("a line without a value")?.1;
        Ok(value.parse()?)
    }
}

/// One connection, frames in and out.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    inbound: BytesMut,
}

impl Wire {
    pub(crate) async fn connect(addr: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            inbound: BytesMut::new(),
        })
    }

    /// Sends requests in one write.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> Result {
        timeout(ANSWER, self.stream.write_all(frames)).await??;
        Ok(())
    }

    /// Reads the answers to `count` requests; requests of the server between them are skipped.
    pub(crate) async fn answers(&mut self, count: usize) -> Result<Vec<RemotingCommand>> {
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            if let Some(frame) = self.frame()? {
                let command = RemotingCommand::decode(frame)?;
                if command.is_response() {
                    answers.push(command);
                }
            } else if timeout(ANSWER, self.stream.read_buf(&mut self.inbound)).await?? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        Ok(answers)
    }

    fn frame(&mut self) -> Result<Option<Bytes>> {
        Ok(rocketry_protocol::frame::split(
            &mut self.inbound,
            rocketry_protocol::frame::MAX_FRAME_BYTES,
        )?)
    }
}

/// A command as bytes.
pub(crate) fn frame(command: RemotingCommand) -> Result<BytesMut> {
    let mut bytes = BytesMut::new();
    command.encode(&mut bytes)?;
    Ok(bytes)
}
