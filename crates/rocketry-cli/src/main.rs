//! The `rocketry` command.

mod access;
mod args;
mod clock;
mod commands;
mod failure;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod heap;
mod jsonl;
mod latency;
mod load;
mod output;
mod progress;
mod signals;
mod tls_dev;
mod units;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let entered = clock::MainEntered::now();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    heap::keep_small();
    let mut command = Cli::command();
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are data and go to stdout with code 0, everything else to stderr with code 2.
            let error = error.format(&mut command);
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    log_to_stderr(cli.global.verbose, matches!(cli.command, Command::Serve(_)));
    let verbose = cli.global.verbose > 0;
    let allowed = match matches.subcommand_matches("serve") {
        Some(serve) => access::refuse_for_serve(serve),
        None => Ok(()),
    };
    match allowed.and_then(|()| commands::run(cli, entered)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_reader_gone() {
                output::note(failure.report(verbose));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// `RUST_LOG` wins over `-v`.
fn log_to_stderr(verbose: u8, server: bool) {
    let level = match (verbose, server) {
        (0, false) => "error",
        (0, true) => "warn",
        (1, _) => "info",
        (2, _) => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

impl From<rocketry::Error> for Failure {
    fn from(error: rocketry::Error) -> Self {
        let hint = error.hint().map(str::to_owned);
        let mut message = error.to_string();
        if let Some(hint) = &hint {
            // The line of its own is easier to find than the end of a long one.
            let without = message
                .strip_suffix(hint.as_str())
                .map(|head| head.trim_end_matches([';', ' ']).len());
            message.truncate(without.unwrap_or(message.len()));
        }
        let table = format!("{error:#}");
        let mut failure = Self::new(message);
        if let Some((_, attempts)) = table.split_once('\n') {
            failure = failure.detail(attempts);
        }
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
