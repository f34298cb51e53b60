//! Before a client asks for replies, every broker that may take one must know it.
//!
//! A replier sends to the broker that it likes, and that broker finds the requester by its heartbeats. Java sends a round of heartbeats
//! with the first request to a topic: `DefaultMQProducerImpl.prepareSendRequest`.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rocketry_protocol::{Topic, reply_topic};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{client::Core, clock, route::RouteError};

/// The clusters whose brokers have heard of this client, or hear of it now: cluster -> whether that is done, told to all who wait in
/// the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Introductions(Mutex<HashMap<Arc<str>, CancellationToken>>);

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
        let done = self.introduction(cluster);
        let _ = timeout_at(until, done.cancelled()).await;
    }

    /// Joins the introduction under way, or begins one.
    fn introduction(self: &Arc<Self>, cluster: &Arc<str>) -> CancellationToken {
        let mut introductions = self.introductions.0.lock();
        if let Some(known) = introductions.get(cluster) {
            return known.clone();
        }
        let done = CancellationToken::new();
        introductions.insert(Arc::clone(cluster), done.clone());
        // whatever becomes of the task: nobody waits for it longer than it lives
        let told = done.clone().drop_guard();
        let (core, cluster) = (Arc::clone(self), Arc::clone(cluster));
        self.tasks.spawn(async move {
            let until = clock::now() + core.config.api_timeout;
            // all brokers of the cluster have this topic
            if let Ok(topic) = Topic::new(reply_topic(&cluster))
                && let Err(error) = core.routes.refresh(&topic, until).await
            {
                tracing::debug!(%topic, ?error, "no route");
                // without the route no round of heartbeats knows the brokers either: the next request asks again
                if !matches!(error, RouteError::Missing { .. }) {
                    core.introductions.0.lock().remove(&cluster);
                }
            }
            core.heartbeat().await;
            drop(told);
        });
        done
    }
}
