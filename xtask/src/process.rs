//! Child processes that never outlive the chore that started them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Result;

/// How long a stopped process may take to leave before it is killed.
const STOP: Duration = Duration::from_secs(30);

/// A running server or driver. Dropping it kills it, so an early return or an interrupt leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; its standard error goes to `log`, its standard output is read line by line.
    pub(crate) fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            log,
        })
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next line on standard output that contains `text`, within `limit`.
    pub(crate) async fn line_with(&mut self, text: &str, limit: Duration) -> Result<String> {
        let Some(lines) = &mut self.lines else {
            return Err(format!("{}: standard output is not read any more", self.name).into());
        };
        let mut before = String::new();
        let found = timeout(limit, async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(text) {
                    return Ok(Some(line));
                }
                before.push_str(&line);
                before.push('\n');
            }
            Ok::<_, std::io::Error>(None)
        });
        let found = found.await;
        let before = last_lines(&before);
        match found {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(format!(
                "{} ended before it printed `{text}`:\n{before}\n{}",
                self.name,
                tail(&self.log)
            )
            .into()),
            Ok(Err(error)) => Err(format!("{}: {error}", self.name).into()),
            Err(_) => Err(format!(
                "{} did not print `{text}` within {limit:?}:\n{before}\n{}",
                self.name,
                tail(&self.log)
            )
            .into()),
        }
    }

    /// Goes on reading standard output in the background, so that a chatty process never blocks on a full pipe.
    pub(crate) fn drain(&mut self) {
        if let Some(lines) = self.lines.take() {
            tokio::spawn(discard(lines));
        }
    }

    /// Standard input, once.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Ends a process that lives as long as its standard input; an exit other than 0 is an error.
    pub(crate) async fn finish(mut self) -> Result {
        drop(self.child.stdin.take());
        let status = timeout(STOP, self.child.wait())
            .await
            .map_err(|_| format!("{} goes on after the end of its standard input", self.name))??;
        if status.success() {
            return Ok(());
        }
        Err(format!("{}: {status}\n{}", self.name, tail(&self.log)).into())
    }

    /// Asks the process to stop (SIGTERM), waits for it, and kills it if it stays.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        if let Ok(status) = timeout(STOP, self.child.wait()).await {
            return Ok(status?);
        }
        self.child.kill().await?;
        Err(format!(
            "{} did not stop within {STOP:?} of SIGTERM and was killed",
            self.name
        )
        .into())
    }

    /// Kills the process as a power cut would (SIGKILL) and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result {
        self.child.kill().await?;
        Ok(())
    }

    /// Stops the process without ending it (SIGSTOP).
    pub(crate) fn pause(&self) -> Result {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Lets a stopped process go on (SIGCONT).
    pub(crate) fn resume(&self) -> Result {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
            .ok_or_else(|| format!("{} has already ended:\n{}", self.name, tail(&self.log)))?;
        rustix::process::kill_process(pid, signal)?;
        Ok(())
    }
}

async fn discard<R: AsyncRead + Unpin>(mut lines: Lines<BufReader<R>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

/// What a command that ran to its end left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs `command` to its end within `limit`; a non-zero exit is not an error here.
pub(crate) async fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let shown = shown(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("`{shown}` does not start: {error}"))?;
    let output = timeout(limit, child.wait_with_output())
        .await
        .map_err(|_| format!("`{shown}` did not end within {limit:?}"))??;
    Ok(Finished {
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Like [`run`], but a non-zero exit is an error that shows what the command printed.
pub(crate) async fn run_ok(command: &mut Command, limit: Duration) -> Result<Finished> {
    let shown = shown(command);
    let finished = run(command, limit).await?;
    if finished.status.success() {
        return Ok(finished);
    }
    let printed = String::from_utf8_lossy(&finished.stdout);
    Err(format!(
        "`{shown}`: {}\n{}\n{}",
        finished.status,
        last_lines(&printed),
        last_lines(&finished.stderr)
    )
    .into())
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

/// The last lines of a log, for error messages.
pub(crate) fn tail(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => format!(
            "{} ends with:\n{}",
            log.display(),
            last_lines(&String::from_utf8_lossy(&bytes))
        ),
        Err(error) => format!("{}: {error}", log.display()),
    }
}

fn last_lines(text: &str) -> String {
    const SHOWN: usize = 15;
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN);
    lines
        .into_iter()
        .skip(skipped)
        .collect::<Vec<_>>()
        .join("\n")
}
