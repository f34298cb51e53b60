//! One file or folder per command, and what they share: the runtime and the client.

mod acl;
mod bench;
mod broker;
mod cluster;
mod consume;
mod group;
mod message;
mod mqadmin;
mod quickstart;
mod recall;
mod request;
mod send;
mod serve;
mod store;
mod topic;
mod user;

use std::time::Duration;

use clap::CommandFactory;
use rocketry::{Client, NameServers};
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::{Bench, Cli, Command, Global},
    clock::MainEntered,
    failure::Failure,
    output::Output,
};

/// Time that connections have to end in order when a command is done.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Runs the command to its end.
///
/// # Errors
/// Why it did not do what it was asked for.
pub(crate) fn run(cli: Cli, entered: MainEntered) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Quickstart(args) => runtime(0)?.block_on(quickstart::run(&args)),
        Command::Serve(args) => runtime(0)?.block_on(serve::run(args, global, entered)),
        Command::Send(args) => block_on(runtime(1)?, send::run(args, global)),
        Command::Request(args) => block_on(runtime(1)?, request::run(args, global)),
        Command::Recall(args) => block_on(runtime(1)?, recall::run(args, global)),
        Command::Consume(args) => block_on(runtime(1)?, consume::run(args, global)),
        Command::Topic(args) => block_on(runtime(1)?, topic::run(args, global)),
        Command::Store(args) => store::run(args),
        Command::Message(command) => block_on(runtime(1)?, message::run(command, global)),
        Command::Group(args) => block_on(runtime(1)?, group::run(args, global)),
        Command::Cluster(args) => block_on(runtime(1)?, cluster::run(args, global)),
        Command::Broker(args) => block_on(runtime(1)?, broker::run(args, global)),
        Command::User(args) => block_on(runtime(1)?, user::run(args, global)),
        Command::Acl(args) => block_on(runtime(1)?, acl::run(args, global)),
        Command::Mqadmin(args) => mqadmin::run(&args, global, entered),
        Command::Bench(Bench::Produce(args)) => block_on(
            runtime(usize::from(args.threads))?,
            bench::produce::run(args, global),
        ),
        Command::Bench(Bench::Consume(args)) => {
            block_on(runtime(1)?, bench::consume::run(args, global))
        }
        Command::Bench(Bench::Startup(args)) => block_on(runtime(1)?, bench::startup::run(args)),
        Command::Completions { shell } => completions(shell),
    }
}

/// A runtime of `workers` threads, 0 = one per core. The command itself runs on the main thread, where it may block on stdout without
/// stopping connections and timers.
fn runtime(workers: usize) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder
        .thread_name("rocketry")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))
}

/// Does not wait for a thread that is stuck in a read of stdin.
fn block_on(
    runtime: Runtime,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// A client of the cluster that `--namesrv`, else `NAMESRV_ADDR`, else the default names.
async fn connect(global: &Global) -> Result<Client, Failure> {
    let name_servers = global
        .namesrv
        .as_deref()
        .map_or_else(NameServers::from_env, NameServers::new);
    Ok(global.access.apply(Client::connect(name_servers))?.await?)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rocketry", &mut script);
    let mut output = Output::stdout();
    output.text(&String::from_utf8_lossy(&script))?;
    output.flush()
}
