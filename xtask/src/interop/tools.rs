//! The foreign side: Apache RocketMQ's jars, the Java driver's classes and the Go driver, all below `target/interop`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::process::run_ok;
use crate::{Result, root};

/// Downloads of some 140 jars on a slow line.
const FETCH: Duration = Duration::from_mins(10);
const COMPILE: Duration = Duration::from_mins(5);
/// The jar that tells a complete download from none.
const PROOF: &str = "rocketmq-tools-5.5.0.jar";

/// Where the foreign side lies, ready to run.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Jars and classes as one class path.
    pub(crate) class_path: String,
    /// The Go driver's executable.
    pub(crate) go_driver: PathBuf,
}

/// Fetches and compiles what is not there yet. Errors name every missing tool at once.
pub(crate) async fn prepare() -> Result<Tools> {
    let wanted = [
        ("java", "-version"),
        ("javac", "-version"),
        ("mvn", "-version"),
        ("go", "version"),
    ];
    let mut missing = Vec::new();
    for (program, argument) in wanted {
        if run_ok(Command::new(program).arg(argument), COMPILE)
            .await
            .is_err()
        {
            missing.push(program);
        }
    }
    if !missing.is_empty() {
        return Err(format!(
            "interop needs {} on the PATH: a JDK (17 or newer), Maven and Go (1.19 or newer) run the real system beside ours; \
             on Debian: apt-get install -y maven default-jdk-headless golang-go",
            missing.join(", ")
        )
        .into());
    }
    let root = root();
    let dir = root.join("target/interop");
    let lib = jars(&root, &dir).await?;
    let classes = classes(&root, &dir, &lib).await?;
    let go_driver = go_driver(&root, &dir).await?;
    Ok(Tools {
        class_path: format!("{}:{}/*", classes.display(), lib.display()),
        go_driver,
    })
}

async fn jars(root: &Path, dir: &Path) -> Result<PathBuf> {
    let lib = dir.join("lib");
    if !lib.join(PROOF).exists() {
        // Maven writes file by file: a download that is cut must not pass for a complete one.
        let partial = dir.join("lib.partial");
        std::fs::create_dir_all(&partial)?;
        let out = format!("-DoutputDirectory={}", partial.display());
        let pom = root.join("interop/pom.xml");
        run_ok(
            Command::new("mvn")
                .args(["-q", "-B", "-f"])
                .arg(pom)
                .arg("dependency:copy-dependencies")
                .arg(out),
            FETCH,
        )
        .await?;
        if lib.exists() {
            std::fs::remove_dir_all(&lib)?;
        }
        std::fs::rename(&partial, &lib)?;
    }
    Ok(lib)
}

async fn classes(root: &Path, dir: &Path, lib: &Path) -> Result<PathBuf> {
    let classes = dir.join("classes");
    std::fs::create_dir_all(&classes)?;
    let mut command = Command::new("javac");
    command
        .args(["-nowarn", "-Xlint:-deprecation", "-encoding", "UTF-8", "-d"])
        .arg(&classes);
    command.arg("-cp").arg(format!("{}/*", lib.display()));
    for entry in std::fs::read_dir(root.join("interop/java"))? {
        command.arg(entry?.path());
    }
    run_ok(&mut command, COMPILE).await?;
    Ok(classes)
}

async fn go_driver(root: &Path, dir: &Path) -> Result<PathBuf> {
    let driver = dir.join("go-driver");
    let mut command = Command::new("go");
    command
        .current_dir(root.join("interop/go"))
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&driver)
        .arg(".");
    run_ok(&mut command, FETCH).await?;
    Ok(driver)
}
