//! Brokers that did not answer: avoided while another can take the message, and asked in the background until they answer again.
//!
//! Shared by all producers of a client. Java has the fault table of its latency switch instead, which is off by default; a dead broker
//! is there tried first by every second send until its route is gone, up to 155 s later.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rocketry_protocol::{RemotingCommand, Topic, header::GetMaxOffsetRequest};
use rocketry_remoting::Deadline;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    route::{Broker, Routes},
    transport::Transport,
};

/// Suspect brokers by name. Reading costs one atomic load while there are none.
#[derive(Debug)]
pub(crate) struct Suspects {
    brokers: Mutex<BTreeSet<Arc<str>>>,
    count: AtomicUsize,
    transport: Arc<Transport>,
    routes: Arc<Routes>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Pause before the first probe, doubled up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long a broker may take to answer a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

impl Suspects {
    pub(crate) fn new(
        transport: Arc<Transport>,
        routes: Arc<Routes>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            brokers: Mutex::default(),
            count: AtomicUsize::new(0),
            transport,
            routes,
            tasks,
            stop,
        }
    }

    /// Whether the broker did not answer lately.
    pub(crate) fn contains(&self, broker: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.brokers.lock().contains(broker)
    }

    /// All of them.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.brokers.lock().iter().cloned().collect()
    }

    /// The broker has answered.
    pub(crate) fn clear(&self, broker: &str) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.update(|brokers| brokers.remove(broker));
        }
    }

    /// The broker did not answer. Unless that is known, a task asks it about `topic` (any answer counts) until it answers or is in no
    /// route any more. It looks for it at new addresses too: no send would that avoids the broker.
    pub(crate) fn suspect(self: &Arc<Self>, broker: &Arc<Broker>, topic: &Topic) {
        let name = Arc::clone(&broker.name);
        if self.update(|brokers| brokers.insert(Arc::clone(&name))) {
            tracing::info!(broker = %name, "avoided until it answers again");
            let probing = probe(
                Arc::clone(self),
                name,
                Arc::downgrade(broker),
                topic.clone(),
            );
            self.tasks.spawn(probing);
        }
    }

    fn update(&self, change: impl FnOnce(&mut BTreeSet<Arc<str>>) -> bool) -> bool {
        let mut brokers = self.brokers.lock();
        let changed = change(&mut brokers);
        self.count.store(brokers.len(), Ordering::Release);
        changed
    }
}

/// A question that costs a broker nothing.
pub(crate) fn probe_request(topic: &str) -> RemotingCommand {
    RemotingCommand::request(&GetMaxOffsetRequest {
        topic,
        queue_id: 0,
        committed: true,
        broker_name: None,
    })
}

async fn probe(suspects: Arc<Suspects>, name: Arc<str>, broker: Weak<Broker>, topic: Topic) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            biased;
            () = suspects.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LAST_PAUSE);
        let Some(broker) = broker.upgrade() else {
            // in no route any more; if it comes back it starts with a clean slate
            suspects.clear(&name);
            return;
        };
        if !suspects.contains(&name) {
            return;
        }
        let Some(address) = broker.master() else {
            continue;
        };
        let request = probe_request(topic.as_str());
        let answered = suspects
            .transport
            .call(&address, request, Deadline::after(PROBE_LIMIT))
            .await;
        if answered.is_ok() {
            tracing::info!(broker = %name, "answers again");
            suspects.clear(&name);
            return;
        }
        suspects.routes.suspect(&topic);
    }
}
