//! Before a client asks for replies, every broker that may take one must know it.
//!
//! A replier sends to the broker that it likes, and that broker finds the requester by its heartbeats. Java sends a round of heartbeats
//! with the first request to a topic: `DefaultMQProducerImpl.prepareSendRequest`.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rocketry_protocol::{Topic, reply_topic};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{client::Core, clock};

/// The clusters whose brokers have heard of this client, or hear of it now: cluster -> whether that is done.
#[derive(Debug, Default)]
pub(crate) struct Introductions(Mutex<HashMap<Arc<str>, watch::Receiver<bool>>>);

impl Introductions {
    /// Some broker has forgotten this client.
    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Core {
    /// Makes sure that the brokers of `cluster` know this client, waiting until `until` at most. A broker that cannot be reached is left
    /// to the rounds of heartbeats: it would not take a reply either.
    pub(crate) async fn introduce(self: &Arc<Self>, cluster: &Arc<str>, until: Instant) {
        let mut done = self.introduction(cluster);
        if *done.borrow() {
            return;
        }
        let _ = timeout_at(until, done.wait_for(|done| *done)).await;
    }

    /// Joins the introduction under way, or begins one.
    fn introduction(self: &Arc<Self>, cluster: &Arc<str>) -> watch::Receiver<bool> {
        let mut introductions = self.introductions.0.lock();
        if let Some(known) = introductions.get(cluster)
            // a task that is gone without a result never will have one
            && (*known.borrow() || known.has_changed().is_ok())
        {
            return known.clone();
        }
        let (done, receiver) = watch::channel(false);
        introductions.insert(Arc::clone(cluster), receiver.clone());
        let (core, name) = (Arc::clone(self), reply_topic(cluster));
        self.tasks.spawn(async move {
            let until = clock::now() + core.config.api_timeout;
            // all brokers of the cluster have this topic
            if let Ok(topic) = Topic::new(name)
                && let Err(error) = core.routes.refresh(&topic, until).await
            {
                tracing::debug!(%topic, ?error, "no route");
            }
            core.heartbeat().await;
            done.send_replace(true);
        });
        receiver
    }
}
