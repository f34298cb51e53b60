//! The foreign side of the comparison, built once: jars, classes, the Go program, the Rust peers.
//!
//! Everything but the jars lies in one directory, `target/bench` unless `ROCKETRY_BENCH_CACHE` or `--cache` names another, which several
//! checkouts may share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::interop::apache_jars;
use crate::process::run_ok;
use crate::{Result, root};

/// Some 400 crates, optimised, on a machine that may be busy.
const BUILD: Duration = Duration::from_hours(2);
/// Of the Rust peers, client and servers.
const PEERS: &str = "=1.0.0";

/// Where built peers lie.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(super) fn new(dir: Option<PathBuf>) -> Result<Self> {
        let dir = dir.unwrap_or_else(|| root().join("target/bench"));
        std::fs::create_dir_all(&dir)?;
        Ok(Self {
            dir: dir.canonicalize()?,
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The class path of Apache's servers.
    pub(super) async fn apache(&self) -> Result<String> {
        apache_jars().await
    }

    /// The class path of the Java driver.
    pub(super) async fn java(&self) -> Result<String> {
        let jars = apache_jars().await?;
        let classes = self.dir.join("java");
        std::fs::create_dir_all(&classes)?;
        let mut command = Command::new("javac");
        command
            .args(["-nowarn", "-Xlint:-deprecation", "-encoding", "UTF-8", "-d"])
            .arg(&classes)
            .args(["-cp", &jars]);
        for entry in std::fs::read_dir(root().join("bench/java"))? {
            command.arg(entry?.path());
        }
        run_ok(&mut command, BUILD).await?;
        Ok(format!("{}:{jars}", classes.display()))
    }

    /// The Go driver.
    pub(super) async fn go(&self) -> Result<PathBuf> {
        let driver = self.dir.join("go-bench");
        let mut command = Command::new("go");
        command
            .current_dir(root().join("bench/go"))
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&driver)
            .arg(".");
        run_ok(&mut command, BUILD).await?;
        Ok(driver)
    }

    /// The driver of `rocketmq-client-rust`.
    pub(super) async fn rust_client(&self) -> Result<PathBuf> {
        let target = self.target();
        let mut command = cargo(&target);
        command.current_dir(root().join("bench/peers")).args([
            "build",
            "--quiet",
            "--release",
            "--locked",
        ]);
        run_ok(&mut command, BUILD).await?;
        Ok(target.join("release/rust-peer"))
    }

    /// `rocketmq-namesrv` and `rocketmq-broker`.
    pub(super) async fn rust_servers(&self) -> Result<(PathBuf, PathBuf)> {
        let at = self.dir.join("peers/servers");
        let binary = |name: &str| at.join("bin").join(name);
        let servers = [
            ("rocketmq-namesrv", binary("rocketmq-namesrv-rust")),
            ("rocketmq-broker", binary("rocketmq-broker-rust")),
        ];
        for (package, binary) in &servers {
            if !binary.is_file() {
                let mut command = cargo(&self.target());
                command
                    .args(["install", "--quiet", "--locked", package])
                    .args(["--version", PEERS, "--root"])
                    .arg(&at);
                run_ok(&mut command, BUILD).await?;
                if !binary.is_file() {
                    return Err(
                        format!("cargo install {package} left no {}", binary.display()).into(),
                    );
                }
            }
        }
        let [(_, name_server), (_, broker)] = servers;
        Ok((name_server, broker))
    }

    fn target(&self) -> PathBuf {
        self.dir.join("peers/target")
    }
}

fn cargo(target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_TARGET_DIR", target);
    command
}
