//! The foreign side: Apache RocketMQ's jars, the Java driver's classes and the Go driver, all below `target/interop`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::process::run_ok;
use crate::{Result, root};

/// Downloads of some 140 jars on a slow line.
const FETCH: Duration = Duration::from_mins(10);
const COMPILE: Duration = Duration::from_mins(5);

/// A release of Apache RocketMQ.
#[derive(Debug, Clone, Copy)]
struct Release {
    version: &'static str,
    /// Below `interop/`.
    pom: &'static str,
    /// Below `target/interop`.
    lib: &'static str,
    classes: &'static str,
    /// Sources of the driver that this release's client does not have everything for.
    without: &'static [&'static str],
}

const CURRENT: Release = Release {
    version: "5.5.0",
    pom: "pom.xml",
    lib: "lib",
    classes: "classes",
    without: &[],
};
const OLD: Release = Release {
    version: "4.9.7",
    pom: "pom-4.xml",
    lib: "lib-4",
    classes: "classes-4",
    without: &[
        "Live.java",
        "Produce.java",
        "Put.java",
        "Signed.java",
        "Sql92Vectors.java",
        "Takeover.java",
        "Trace.java",
    ],
};

/// Where the foreign side lies, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// Jars and classes of 5.5.0 as one class path.
    pub(crate) class_path: String,
    /// The same of 4.9.7.
    pub(crate) class_path_4: String,
    /// The Go driver's executable.
    pub(crate) go_driver: PathBuf,
}

/// Fetches and compiles what is not there yet. Errors name every missing tool at once.
pub(crate) async fn prepare() -> Result<Tools> {
    on_the_path(&["java", "javac", "mvn", "go"]).await?;
    let root = root();
    let dir = root.join("target/interop");
    Ok(Tools {
        class_path: class_path(&root, &dir, CURRENT).await?,
        class_path_4: class_path(&root, &dir, OLD).await?,
        go_driver: go_driver(&root, &dir).await?,
    })
}

/// The jars of 5.5.0 alone, as a class path: enough to run Apache's servers. Needs Java, and Maven if they are not there yet.
pub(crate) async fn apache_jars() -> Result<String> {
    on_the_path(&["java"]).await?;
    let root = root();
    let lib = jars(&root, &root.join("target/interop"), CURRENT).await?;
    Ok(format!("{}/*", lib.display()))
}

async fn on_the_path(wanted: &[&str]) -> Result {
    let mut missing = Vec::new();
    for &program in wanted {
        let argument = if program == "go" {
            "version"
        } else {
            "-version"
        };
        if run_ok(Command::new(program).arg(argument), COMPILE)
            .await
            .is_err()
        {
            missing.push(program);
        }
    }
    if !missing.is_empty() {
        return Err(format!(
            "{} is missing on the PATH: a JDK (17 or newer), Maven and Go (1.19 or newer) run the real system beside ours; \
             on Debian: apt-get install -y maven default-jdk-headless golang-go",
            missing.join(", ")
        )
        .into());
    }
    Ok(())
}

async fn class_path(root: &Path, dir: &Path, release: Release) -> Result<String> {
    let lib = jars(root, dir, release).await?;
    let classes = classes(root, dir, &lib, release).await?;
    Ok(format!("{}:{}/*", classes.display(), lib.display()))
}

async fn jars(root: &Path, dir: &Path, release: Release) -> Result<PathBuf> {
    let lib = dir.join(release.lib);
    // The jar that tells a complete download from none.
    let proof = format!("rocketmq-tools-{}.jar", release.version);
    if !lib.join(proof).exists() {
        // Maven writes file by file: a download that is cut must not pass for a complete one.
        let partial = dir.join(format!("{}.partial", release.lib));
        std::fs::create_dir_all(&partial)?;
        let out = format!("-DoutputDirectory={}", partial.display());
        let pom = root.join("interop").join(release.pom);
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

async fn classes(root: &Path, dir: &Path, lib: &Path, release: Release) -> Result<PathBuf> {
    let classes = dir.join(release.classes);
    std::fs::create_dir_all(&classes)?;
    let mut command = Command::new("javac");
    command
        .args(["-nowarn", "-Xlint:-deprecation", "-encoding", "UTF-8", "-d"])
        .arg(&classes);
    command.arg("-cp").arg(format!("{}/*", lib.display()));
    for entry in std::fs::read_dir(root.join("interop/java"))? {
        let source = entry?;
        let name = source.file_name();
        if !release.without.iter().any(|without| *without == name) {
            command.arg(source.path());
        }
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
