//! Runs the real binary, with a deadline, and servers of it that die with the test.

use std::{
    net::TcpListener,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// No command of these tests takes longer unless something hangs.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// What a command left behind.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(
            self.code,
            0,
            "stderr: {}\nstdout: {}",
            self.stderr,
            self.text()
        );
        self
    }

    #[track_caller]
    pub fn fails_with(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "{text:?} is missing in: {}",
                self.stderr
            );
        }
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// One JSON value per line.
    #[track_caller]
    pub fn jsonl(&self) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.text().lines().map(parse).collect()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// The binary, shielded from the environment of whoever runs the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rocketry"));
    command
        .args(args)
        .env_remove("NAMESRV_ADDR")
        .env_remove("ROCKETRY_DATA")
        .env_remove("ROCKETRY_TLS_CA")
        .env_remove("ROCKETRY_ACCESS_KEY")
        .env_remove("ROCKETRY_SECRET_KEY")
        .env_remove("ROCKETRY_SECURITY_TOKEN")
        .env_remove("ROCKETRY_NAMESPACE")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub async fn run(args: &[&str]) -> Run {
    run_command(command(args), b"").await
}

pub async fn run_with_input(args: &[&str], input: &[u8]) -> Run {
    let mut command = command(args);
    command.stdin(Stdio::piped());
    run_command(command, input).await
}

pub async fn run_command(mut command: Command, input: &[u8]) -> Run {
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // A command that ends early closes its stdin; that is for the test to judge.
        tokio::spawn(async move { stdin.write_all(&input).await });
    }
    let output = timeout(DEADLINE, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("hangs: {command:?}"))
        .unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `rocketry serve` in a process of its own; killed when dropped.
pub struct Served {
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
    pub ready: String,
    pub namesrv: String,
    pub broker: String,
    pub data: String,
}

impl Served {
    /// Free ports, a temporary directory.
    pub async fn temp() -> Self {
        Self::start(&["--temp"]).await
    }

    pub async fn start(args: &[&str]) -> Self {
        let ports = ["serve", "--namesrv-port", "0", "--broker-port", "0"];
        Self::start_command(command(&[&ports, args].concat())).await
    }

    /// A command that serves.
    pub async fn start_command(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        timeout(DEADLINE, stdout.read_line(&mut ready))
            .await
            .expect("serve is not ready")
            .unwrap();
        let Some((namesrv, broker, data, _)) = parse_ready(&ready) else {
            let mut stderr = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut stderr)
                .await
                .unwrap();
            panic!("not a ready line: {ready:?}; stderr: {stderr}");
        };
        Self {
            child,
            stdout,
            ready,
            namesrv,
            broker,
            data,
        }
    }

    /// SIGTERM, and what the process leaves behind: its status and the rest of stdout.
    pub async fn stop(mut self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        let mut rest = String::new();
        timeout(DEADLINE, self.stdout.read_to_string(&mut rest))
            .await
            .expect("serve does not stop")
            .unwrap();
        (
            timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap(),
            rest,
        )
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    /// Runs a command against this server.
    pub async fn run(&self, args: &[&str]) -> Run {
        run(&[args, &["--namesrv", &self.namesrv]].concat()).await
    }

    pub async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Run {
        run_with_input(&[args, &["--namesrv", &self.namesrv]].concat(), input).await
    }
}

/// Name server, broker, data directory and milliseconds of `ready namesrv=HOST:PORT broker=HOST:PORT data=DIR in=N ms`.
pub fn parse_ready(line: &str) -> Option<(String, String, String, u64)> {
    let rest = line.strip_suffix(" ms\n")?.strip_prefix("ready namesrv=")?;
    let (namesrv, rest) = rest.split_once(" broker=")?;
    let (broker, rest) = rest.split_once(" data=")?;
    let (data, ms) = rest.rsplit_once(" in=")?;
    Some((
        namesrv.to_owned(),
        broker.to_owned(),
        data.to_owned(),
        ms.parse().ok()?,
    ))
}

/// An address where nobody listens.
pub fn closed_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}
