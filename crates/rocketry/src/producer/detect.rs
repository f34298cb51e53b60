//! The detector: asks brokers that could not be reached until they answer. Java: `LatencyFaultToleranceImpl.detectByOneRound`,
//! `DefaultMQProducerImpl.initDetector`.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rocketry_remoting::Deadline;
use tokio::task::JoinSet;

use super::shared::Shared;
use crate::{clock, suspect};

/// The detector of [`crate::ProducerConfig::detector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detector {
    /// Least time between two questions to one broker; rounds are 3 s apart. Default 2 s, bounds 1 ms ..= 1 h.
    ///
    /// Java: `ClientConfig.detectInterval`.
    pub interval: Duration,
    /// How long a broker may take to answer. Default 200 ms, bounds 1 ms ..= 1 h.
    ///
    /// Java: `ClientConfig.detectTimeout`.
    pub timeout: Duration,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            timeout: Duration::from_millis(200),
        }
    }
}

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(3);

/// Asks round by round until the producer is shut down or gone.
pub(super) async fn run(producer: Weak<Shared>, detector: Detector) {
    loop {
        let Some((closing, stop)) = producer.upgrade().map(|shared| {
            let stop = shared.client.core().stop.clone();
            (shared.closing.clone(), stop)
        }) else {
            return;
        };
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if let Some(shared) = producer.upgrade() {
            round(&shared, detector).await;
        }
    }
}

/// Asks every unreachable broker whose turn it is. An error answers nothing: only a success makes a broker reachable.
async fn round(shared: &Shared, detector: Detector) {
    let core = shared.client.core();
    let Some(topic) = core.routes.any_topic() else {
        return;
    };
    let mut probes = JoinSet::new();
    for broker in shared.faults.due(clock::now(), detector.interval) {
        let Some(address) = core.routes.master(&broker) else {
            shared.faults.forget(&broker);
            continue;
        };
        let (transport, topic) = (Arc::clone(&core.transport), topic.clone());
        let deadline = Deadline::after(detector.timeout);
        probes.spawn(async move {
            let request = suspect::probe_request(topic.as_str());
            let answer = transport.call(&address, request, deadline).await;
            answer.is_ok_and(|reply| reply.code == 0).then_some(broker)
        });
    }
    for broker in probes.join_all().await.into_iter().flatten() {
        tracing::info!(%broker, "reachable again");
        shared.faults.reachable_again(&broker);
    }
}
