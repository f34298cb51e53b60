//! Every task that ticks or waits on its own. All of them end with the token.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    FlushMode,
    broker::Broker,
    clock,
    name_server::NameServer,
    pop::{order, revive},
    processor::{
        pop::{self, HeldPop},
        pull::{self, HeldPull},
    },
    rates,
    registration::Registration,
    schedule, stats, transaction,
};

/// Time between two looks for silent brokers. Java: `scanNotActiveBrokerInterval`.
const BROKER_SCAN: Duration = Duration::from_secs(5);

/// Time between two looks for silent clients. Java: `ClientHousekeepingService`.
const CLIENT_SCAN: Duration = Duration::from_secs(10);

/// Time between two looks for pops in order that nobody goes on with. Java: at each write of their file.
const CLEAN_ORDERED_POPS: Duration = Duration::from_secs(10);

/// Time between two looks for sends whose sync takes too long.
const SYNC_SCAN: Duration = Duration::from_millis(250);

/// Starts the name server's task.
pub(crate) fn spawn_name_server(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    name_server: Arc<NameServer>,
) {
    tasks.spawn(every(BROKER_SCAN, stop.clone(), move || {
        name_server.expire(clock::wall_ms());
    }));
}

/// Starts the broker's tasks. `woken` and `woken_pops` are the pulls and pops for which a message came.
pub(crate) fn spawn_broker(
    broker: &Arc<Broker>,
    woken: mpsc::UnboundedReceiver<HeldPull>,
    woken_pops: mpsc::UnboundedReceiver<HeldPop>,
) {
    let (tasks, stop) = (&broker.tasks, &broker.stop);
    tasks.spawn(answer_woken(Arc::clone(broker), woken, stop.clone()));
    tasks.spawn(answer_expired(Arc::clone(broker), stop.clone()));
    tasks.spawn(resume_pops(Arc::clone(broker), woken_pops, stop.clone()));
    tasks.spawn(revive::run(Arc::clone(broker), stop.clone()));

    let clients = Arc::clone(broker);
    tasks.spawn(every(CLIENT_SCAN, stop.clone(), move || {
        close_silent(&clients, clock::wall_ms());
    }));

    let stats = Arc::clone(&broker.stats);
    tasks.spawn(every(stats::SAMPLE_EVERY, stop.clone(), move || {
        stats.sample(clock::wall_ms());
    }));

    tasks.spawn(every(
        rates::LOOK_EVERY,
        stop.clone(),
        look_at_rates(broker),
    ));

    if broker.config.flush == FlushMode::Sync {
        let (writer, longest) = (broker.writer.clone(), broker.config.sync_flush_timeout);
        tasks.spawn(every(SYNC_SCAN, stop.clone(), move || {
            writer.answer_late(longest);
        }));
    }

    let ordered = Arc::clone(broker);
    tasks.spawn(every(CLEAN_ORDERED_POPS, stop.clone(), move || {
        order::clean(&ordered, clock::wall_ms());
    }));

    tasks.spawn(schedule::run(Arc::clone(broker), stop.clone()));

    tasks.spawn(transaction::run(Arc::clone(broker), stop.clone()));

    for (index, addr) in broker.config.name_servers.iter().enumerate() {
        let registration = Registration::new(addr.clone(), index, broker.outbound.clone());
        tasks.spawn(registration.run(Arc::clone(broker), stop.clone()));
    }
}

/// Ends the connections of clients that no longer send heartbeats. Java: `ClientHousekeepingService.scanExceptionChannel`.
fn close_silent(broker: &Broker, now_ms: i64) {
    let silent = broker.clients.lock().expired(now_ms);
    for connection in silent {
        connection.close("no heartbeat for 120 s");
    }
}

async fn answer_woken(
    broker: Arc<Broker>,
    mut woken: mpsc::UnboundedReceiver<HeldPull>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            held = woken.recv() => match held {
                Some(held) => {
                    pull::woken(&broker, held);
                    broker.holds.wake_more();
                }
                None => return,
            }
        }
    }
}

async fn answer_expired(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            expired = broker.holds.expired() => {
                for held in expired {
                    pull::release(&broker, held);
                    // thousands may end together
                    tokio::task::coop::consume_budget().await;
                }
            }
        }
    }
}

/// Pops look again when a message came, and a last time when their time is up.
async fn resume_pops(
    broker: Arc<Broker>,
    mut woken: mpsc::UnboundedReceiver<HeldPop>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            held = woken.recv() => match held {
                Some(held) => pop::resume(&broker, held),
                None => return,
            },
            expired = broker.pops.polls.expired() => {
                for held in expired {
                    pop::resume(&broker, held);
                    tokio::task::coop::consume_budget().await;
                }
            }
        }
    }
}

fn look_at_rates(broker: &Arc<Broker>) -> impl FnMut() + Send + use<> {
    let broker = Arc::clone(broker);
    let mut seen = -1;
    let mut ends = Vec::new();
    move || {
        let end = broker.reader.max_log_offset();
        if end != seen {
            ends = rates::ends_of(&broker.reader, &broker.system);
            seen = end;
        }
        broker.rates.look(
            clock::wall_ms(),
            &broker.identity.cluster,
            &ends,
            |topic| broker.topics().get(topic).is_some(),
            |group| broker.groups().get(group).is_some(),
        );
    }
}

async fn every(period: Duration, stop: CancellationToken, mut tick: impl FnMut()) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => tick(),
        }
    }
}

#[cfg(test)]
mod tests;
