//! `rocketry serve`: name server, broker, or both in one process, until a signal.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rocketry::NameServers;
use rocketry_server::{
    AccessOptions, DataDir, FirstUser, FlushMode, MadeUser, Role, Server, ServerConfig,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    access,
    args::{self, Flush, Global, ReportFormat, ServeAccess},
    clock::MainEntered,
    failure::Failure,
    output::{self, Output},
    signals::Signals,
    tls_dev::DevCertificate,
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
    let format = args.output;
    raise_open_files();
    let (config, made_up) = config(args, global)?;
    let role = config.role;
    // Before the ready line, so that a signal that follows it is not missed.
    let mut signals = Signals::new()?;
    let server = Server::start(config).await?;
    if let Some(made_up) = made_up {
        let ca = made_up.publish(server.data_dir())?;
        output::note(format_args!(
            "TLS for development, anew with each start: clients trust it with --tls-ca {}",
            ca.display()
        ));
    }
    if let Some(made) = server.first_user() {
        introduce(made);
    }
    if role != Role::NameServer {
        output::note(format_args!(
            "clients are told {}: {}",
            server.broker_addr(),
            server.advertised_because()
        ));
    }
    let mut output = Output::stdout();
    let ready_ms = entered.since_process_start().as_millis();
    let ready = match format {
        ReportFormat::Text => output.line(ready_text(&server, ready_ms)),
        ReportFormat::Json => output.line(ready_json(&server, role, ready_ms)),
    };
    let ready = ready.and_then(|()| output.flush());
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

/// A connection takes a file, and so does each part of the store that is in use: as many as the system allows, instead of the 1,024 that
/// a shell hands down on most. Who wants fewer lowers the hard limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is");
    }
}

fn ready_text(server: &Server, ready_ms: u128) -> String {
    let broker = match server.broker_addr() {
        "" => String::new(),
        addr => format!(" broker={addr}"),
    };
    let metrics = match server.metrics_addr() {
        None => String::new(),
        Some(addr) => format!(" metrics={addr}"),
    };
    format!(
        "ready namesrv={}{broker}{metrics} data={} in={ready_ms} ms",
        server.namesrv_addr(),
        server.data_dir().display()
    )
}

fn ready_json(server: &Server, role: Role, ready_ms: u128) -> serde_json::Value {
    let is_broker = role != Role::NameServer;
    serde_json::json!({
        "role": match role {
            Role::NameServer => "namesrv",
            Role::Broker => "broker",
            Role::All => "all",
        },
        "namesrv": server.namesrv_addr(),
        "broker": is_broker.then(|| server.broker_addr()),
        "metrics": server.metrics_addr().map(|addr| addr.to_string()),
        "because": is_broker.then(|| server.advertised_because()),
        "data": server.data_dir().display().to_string(),
        "ready_ms": u64::try_from(ready_ms).unwrap_or(u64::MAX),
        "pid": std::process::id(),
    })
}

/// Of `--tls-dev`, for the names that clients know the server by.
fn made_up_certificate(config: &ServerConfig) -> Result<DevCertificate, Failure> {
    let advertised = config.advertise.as_ref().map(|it| it.host().to_owned());
    let own = (!config.host.is_unspecified()).then(|| config.host.to_string());
    DevCertificate::new(advertised.into_iter().chain(own))
}

/// What the options say, then what the file says, then the defaults; and what was made up for that.
fn config(
    args: args::Serve,
    global: &Global,
) -> Result<(ServerConfig, Option<DevCertificate>), Failure> {
    let mut config = ServerConfig::default();
    if let Some(file) = &args.config {
        apply_file(&mut config, file)?;
    }
    config.data_dir = match (args.temp, args.data, config.data_dir) {
        (true, _, _) => DataDir::Temp,
        (_, None, DataDir::Path(dir)) => DataDir::Path(dir),
        (_, given, _) => DataDir::Path(data_dir(given)?),
    };
    let is_registered = global.namesrv.is_some() || !config.name_servers.is_empty();
    config.role = match args.role {
        Some(args::Role::Namesrv) => Role::NameServer,
        Some(args::Role::Broker) => Role::Broker,
        None if is_registered => Role::Broker,
        Some(args::Role::All) | None => Role::All,
    };
    config.host = args.host.unwrap_or(config.host);
    config.advertise = args.advertise.or(config.advertise);
    config.namesrv_port = args.namesrv_port;
    // A test that lets any port be the name server's has no use for a fixed one.
    config.broker_port = match (args.broker_port, args.namesrv_port) {
        (Some(port), _) => port,
        (None, 0) if args.config.is_none() => 0,
        (None, _) => config.broker_port,
    };
    config.metrics_port = args.metrics_port;
    config.metrics_host = args.metrics_host;
    config.metrics_max_series = args.metrics_max_series;
    limit(&mut config, &args.limits);
    let made_up = args
        .tls_dev
        .then(|| made_up_certificate(&config))
        .transpose()?;
    config.tls = global.access.server_tls(
        args.tls_mode,
        args.tls_client_ca.as_deref(),
        made_up.as_ref(),
        is_registered,
    )?;
    config.flush = match args.flush {
        Some(Flush::Async) => FlushMode::Async,
        Some(Flush::Sync) => FlushMode::Sync,
        None => config.flush,
    };
    if let Some(mut given) = access(&args.users)? {
        given.inner_user = config.access.take().and_then(|of_file| of_file.inner_user);
        config.access = Some(given);
    }
    config.allow_anonymous = args.users.allow_anonymous;
    config.broker_name = args.broker_name.unwrap_or(config.broker_name);
    config.cluster_name = args.cluster.unwrap_or(config.cluster_name);
    config.auto_create_topics = args.auto_create_topics.unwrap_or(config.auto_create_topics);
    config.record_crc = args.record_crc.unwrap_or(config.record_crc);
    if args.broker_id != 0 {
        return Err(Failure::usage(format!(
            "--broker-id {}: that is a replica, and this broker cannot follow a master",
            args.broker_id
        ))
        .hint("leave the id at 0, and give each broker a name of its own with --broker-name"));
    }
    if config.role == Role::Broker && !is_registered {
        return Err(
            Failure::usage("--role broker: no name server to register with")
                .hint("give --namesrv HOST:PORT, several separated by ';'"),
        );
    }
    if config.role == Role::NameServer && global.namesrv.is_some() {
        return Err(
            Failure::usage("--role namesrv: --namesrv is where brokers register, a name server registers with nobody")
                .hint("leave --namesrv out; --namesrv-port is the port to listen on"),
        );
    }
    if config.role == Role::NameServer {
        config.name_servers.clear();
    }
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
    if !config.name_servers.is_empty() {
        let (tls, credentials) = global.access.registration()?;
        config.name_server_tls = tls;
        config.name_server_credentials = credentials.or(config.name_server_credentials);
    }
    Ok((config, made_up))
}

/// Secret of `--init-user`, where no file has it. A variable, because others can read command lines.
const INIT_SECRET: &str = "ROCKETRY_INIT_SECRET";

/// `None` without `--auth`.
fn access(args: &ServeAccess) -> Result<Option<AccessOptions>, Failure> {
    if !args.auth {
        return Ok(None);
    }
    let mut options = AccessOptions::default();
    if let Some(name) = &args.init_user {
        let secret = match &args.init_secret_file {
            Some(file) => access::secret_of_file(file)?,
            None => env::var(INIT_SECRET).map_err(|_| {
                Failure::usage(format!("--init-user {name} has no secret")).hint(format!(
                    "give --init-secret-file FILE, or set {INIT_SECRET}"
                ))
            })?,
        };
        options.first_user = FirstUser::Named {
            name: name.clone(),
            secret,
        };
    }
    options.permissions = !args.no_permissions;
    options.open_codes.clone_from(&args.open_codes);
    options.unchecked_codes.clone_from(&args.unchecked_codes);
    Ok(Some(options))
}

/// What to do with the first user.
fn introduce(made: &MadeUser) {
    let name = &made.name;
    let secret = if let Some(file) = &made.secret_file {
        output::note(format_args!(
            "made super user {name}, with a random secret in {}; as this user:",
            file.display()
        ));
        format!("\"$(cat {})\"", file.display())
    } else {
        output::note(format_args!("made super user {name}; as this user:"));
        "...".to_owned()
    };
    output::note(format_args!(
        "  export ROCKETRY_ACCESS_KEY={name} ROCKETRY_SECRET_KEY={secret}\n  \
         rocketry user create alice\n  \
         rocketry acl create alice --resource Topic:Orders --actions Pub,Sub,Get\n  \
         rocketry acl create alice --resource Group:billing --actions Sub"
    ));
}

/// `--config`.
fn apply_file(config: &mut ServerConfig, file: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let ignored = config
        .apply_broker_conf(&text)
        .map_err(|error| Failure::from(error).during(file.display()))?;
    if !ignored.is_empty() {
        output::note(format_args!(
            "{}: without a meaning here: {}",
            file.display(),
            ignored.join(", ")
        ));
    }
    Ok(())
}

fn limit(config: &mut ServerConfig, limits: &args::ServeLimits) {
    config.max_connections = limits.max_connections;
    config.max_in_flight = limits.max_in_flight;
    config.max_in_flight_of_connection = limits.max_in_flight_of_connection;
    config.max_waiting_sends = limits.max_waiting_sends.unwrap_or(config.max_waiting_sends);
    config.max_waiting_send_bytes = limits.max_waiting_send_bytes;
    config.max_waiting_pulls = limits.max_waiting_pulls;
    config.max_waiting_pull_bytes = limits.max_waiting_pull_bytes;
    config.max_response_bytes = limits.max_response_bytes;
    config.max_message_bytes = limits.max_message_bytes.unwrap_or(config.max_message_bytes);
    config.max_frame_bytes = limits.max_frame_bytes;
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
        // Many name the directory, or their cause, themselves.
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let reason = cause.to_string();
            if reason.starts_with(&message) {
                message = reason;
            } else if !message.contains(&reason) {
                message.push_str(": ");
                message.push_str(&reason);
            }
            source = cause.source();
        }
        Self::new(message)
    }
}
