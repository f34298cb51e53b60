//! The clients side by side: the same workloads on Apache's broker and on ours, and the floors.

use super::Bench;
use super::clients::{At, Client, Drivers, Phases};
use super::figures::{Sample, Samples};
use super::servers::{Kind, Server, Setup, Starter, TOPIC};
use super::workload::{MAIN, MORE, Workload};
use crate::{Result, output};

/// The load that brings a JVM to speed before anything is measured, seconds.
const WARM_BROKER: f64 = 5.0;

/// The name of the floors' server in samples.
pub(super) const NO_SERVER: &str = "-";

/// Measures; what is missing is named in the second half.
pub(super) async fn run(bench: &Bench, starter: &Starter<'_>) -> Result<(Samples, Vec<String>)> {
    let mut clients = bench.options.clients();
    let (mut drivers, mut missing) = Drivers::start(
        &mut clients,
        &bench.cache,
        &bench.rocketry,
        &bench.xtask,
        &bench.dir,
    )
    .await;
    let mut samples = Samples::default();
    for (loads, rounds, phases) in [
        (&MAIN[..], bench.options.rounds(), bench.options.phases()),
        (
            &MORE[..],
            bench.options.rounds_of_more(),
            bench.options.phases_of_more(),
        ),
    ] {
        let loads: Vec<_> = loads
            .iter()
            .copied()
            .filter(|load| bench.options.wants(&load.to_string()))
            .collect();
        if loads.is_empty() || rounds == 0 {
            continue;
        }
        for client in &clients {
            for (load, why) in loads
                .iter()
                .filter_map(|load| Some((load, client.lacks(*load)?)))
            {
                missing.push(format!("{} at {load}: {why}", client.name()));
            }
        }
        // Fresh ones for each half: what they store would fill the disk.
        let mut servers = Vec::new();
        for kind in bench.options.servers() {
            if kind == Kind::Rust {
                continue;
            }
            let setup = Setup {
                sync_flush: false,
                topics: 0,
            };
            match starter.start(kind, setup).await {
                Ok(server) => servers.push(server),
                Err(error) => missing.push(format!("{} was not measured: {error}", kind.name())),
            }
        }
        for server in &servers {
            warm(bench, server).await?;
        }
        for round in 0..rounds {
            for &load in &loads {
                measure(
                    phases,
                    &mut drivers,
                    &clients,
                    &servers,
                    load,
                    round,
                    &mut samples,
                )
                .await;
            }
        }
        for server in servers {
            server.end().await?;
        }
    }
    Ok((samples, missing))
}

/// Brings a server that compiles while it runs to speed.
pub(super) async fn warm(bench: &Bench, server: &Server) -> Result {
    if server.kind == Kind::Apache {
        let phases = Phases {
            warm: bench.options.scaled(WARM_BROKER),
            seconds: 0.1,
        };
        let load = Workload::new(super::workload::Mode::Sync, 64, 1024);
        super::clients::produce(&bench.rocketry, at(server), load, phases, &[]).await?;
    }
    Ok(())
}

pub(super) fn at(server: &Server) -> At<'_> {
    At {
        namesrv: &server.namesrv,
        topic: TOPIC,
        pid: server.pid,
    }
}

async fn measure(
    phases: Phases,
    drivers: &mut Drivers,
    clients: &[Client],
    servers: &[Server],
    load: Workload,
    round: usize,
    samples: &mut Samples,
) {
    for &client in clients.iter().filter(|client| client.can(load)) {
        let nowhere = At {
            namesrv: "",
            topic: TOPIC,
            pid: 0,
        };
        let places: Vec<_> = if client.is_floor() {
            vec![(NO_SERVER, nowhere)]
        } else {
            let place = servers.iter();
            place
                .map(|server| (server.kind.name(), at(server)))
                .collect()
        };
        for (server, at) in places {
            let outcome = drivers
                .measure(client, at, load, phases)
                .await
                .map_err(|error| error.to_string());
            let sample = Sample {
                round,
                server: server.to_owned(),
                client: client.name(),
                workload: load.to_string(),
                outcome,
            };
            output::line(super::report::line(&sample));
            samples.0.push(sample);
        }
    }
}
