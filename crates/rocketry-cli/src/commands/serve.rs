//! `rocketry serve`: name server and broker in one process, until a signal.

use std::{env, path::PathBuf, time::Duration};

use rocketry::NameServers;
use rocketry_server::{DataDir, FlushMode, Server, ServerConfig};

use crate::{
    args::{self, Flush, Global},
    clock::MainEntered,
    failure::Failure,
    output::{self, Output},
};

/// Time that connections and the log have to end in order after a signal.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Starts a server, says so, and stops it gracefully at SIGINT or SIGTERM.
///
/// # Errors
/// Why it could not start, or did not stop in order.
pub(crate) async fn run(
    args: args::Serve,
    global: &Global,
    entered: MainEntered,
) -> Result<(), Failure> {
    let config = config(args, global)?;
    // Before the ready line, so that a signal that follows it is not missed.
    let mut signals = Signals::new()?;
    let server = Server::start(config).await?;
    let mut output = Output::stdout();
    let ready = output
        .line(format_args!(
            "ready namesrv={} broker={} data={} in={} ms",
            server.namesrv_addr(),
            server.broker_addr(),
            server.data_dir().display(),
            entered.since_process_start().as_millis()
        ))
        .and_then(|()| output.flush());
    // A server whose stdout nobody reads is still a server.
    if let Err(failure) = ready
        && !failure.is_reader_gone()
    {
        output::note(failure.report(false));
    }
    drop(output);

    let signal = signals.next().await;
    tracing::info!("{signal}: stopping");
    tokio::select! {
        stopped = server.shutdown(STOP_WITHIN) => Ok(stopped?),
        signal = signals.next() => Err(Failure::new(format!("{signal} again: stopped at once; the next start runs a recovery"))),
    }
}

fn config(args: args::Serve, global: &Global) -> Result<ServerConfig, Failure> {
    let mut config = ServerConfig::default();
    config.data_dir = if args.temp {
        DataDir::Temp
    } else {
        DataDir::Path(data_dir(args.data)?)
    };
    config.host = args.host;
    config.advertise = args.advertise;
    config.namesrv_port = args.namesrv_port;
    config.broker_port = args.broker_port;
    config.tls = global
        .access
        .server_tls(args.tls_mode, args.tls_client_ca.as_deref())?;
    config.flush = match args.flush {
        Flush::Async => FlushMode::Async,
        Flush::Sync => FlushMode::Sync,
    };
    config.broker_name = args.broker_name;
    config.cluster_name = args.cluster;
    config.auto_create_topics = args.auto_create_topics;
    if let Some(elsewhere) = global.namesrv.as_deref() {
        config.name_servers = NameServers::new(elsewhere)
            .addresses()
            .map(str::to_owned)
            .collect();
        if config.name_servers.is_empty() {
            return Err(
                Failure::usage(format!("--namesrv {elsewhere:?}: no address"))
                    .hint("write host:port, several separated by ';'"),
            );
        }
    }
    Ok(config)
}

/// `--data`, else `ROCKETRY_DATA`, else the place for data of the user.
fn data_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let variable = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    given
        .or_else(|| variable("ROCKETRY_DATA"))
        .or_else(|| variable("XDG_DATA_HOME").map(|home| home.join("rocketry")))
        .or_else(|| env::home_dir().map(|home| home.join(".local/share/rocketry")))
        // Absolute, so that the ready line is of use to readers in other directories.
        .map(|dir| std::path::absolute(&dir).unwrap_or(dir))
        .ok_or_else(|| {
            Failure::usage("no home directory to keep data in").hint("give --data DIR, or --temp")
        })
}

impl From<rocketry_server::ServerError> for Failure {
    fn from(error: rocketry_server::ServerError) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(message)
    }
}

/// The signals that mean: stop.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The signal that means: stop.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
