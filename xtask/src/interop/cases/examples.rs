//! The examples of tests in other languages run as they stand.

use std::time::Duration;

use tokio::process::Command;

use super::Case;
use crate::interop::world::World;
use crate::process::run_ok;
use crate::{Result, root};

const COMPILE: Duration = Duration::from_mins(5);
const TEST: Duration = Duration::from_mins(4);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("examples/java-test", |world| Box::pin(java(world))),
        Case::new("examples/go-test", |world| Box::pin(go(world))),
    ]
}

async fn java(world: &mut World) -> Result {
    let (sources, classes) = (root().join("examples/java"), world.dir("examples-java")?);
    let mut compile = Command::new("javac");
    compile.args(["-encoding", "UTF-8", "-d"]).arg(&classes);
    compile.args(["-cp", &world.tools.class_path]);
    for source in ["RocketryServer.java", "OrdersTest.java"] {
        compile.arg(sources.join(source));
    }
    run_ok(&mut compile, COMPILE).await?;
    let mut test = Command::new("java");
    test.env("ROCKETRY", world.rocketry.path())
        .arg(format!("-Duser.home={}", classes.display()))
        .args(["-Xmx256m", "-cp"])
        .arg(format!("{}:{}", classes.display(), world.tools.class_path))
        .arg("OrdersTest");
    let finished = run_ok(&mut test, TEST).await?;
    let printed = String::from_utf8_lossy(&finished.stdout);
    if !printed.lines().any(|line| line == "ok") {
        return Err(format!("the test printed no `ok`:\n{printed}").into());
    }
    Ok(())
}

async fn go(world: &mut World) -> Result {
    let mut test = Command::new("go");
    test.current_dir(root().join("examples/go"))
        .env("ROCKETRY", world.rocketry.path())
        .args(["test", "-count=1", "-v", "./..."]);
    let finished = run_ok(&mut test, COMPILE + TEST).await?;
    let printed = String::from_utf8_lossy(&finished.stdout);
    if !printed.contains("--- PASS: TestEveryOrderArrives") {
        return Err(format!("the test did not run:\n{printed}").into());
    }
    Ok(())
}
