//! Our server under sync flush against the disk: what it syncs for its senders, and as many bytes each time by themselves.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::figures::Figures;
use super::servers::Server;
use super::store;
use crate::Result;
use crate::measured::metrics;

/// A page of metrics is made once a second.
const FRESH: Duration = Duration::from_millis(1100);

/// A run under sync flush, and the disk's floor right behind it.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Syncs {
    pub(super) messages_each: f64,
    pub(super) bytes_each: f64,
    pub(super) per_second: f64,
    /// Of a loop of `pwrite` and `fdatasync` with as many bytes each time.
    pub(super) floor_per_second: f64,
}

impl Syncs {
    /// The part of the floor that the server reaches.
    pub(super) fn of_floor(&self) -> f64 {
        self.per_second / self.floor_per_second
    }
}

/// What the server had done when the run began.
#[derive(Debug)]
pub(super) struct Before<'a> {
    metrics: &'a str,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    messages: f64,
    bytes: f64,
    syncs: f64,
}

impl Counts {
    async fn of(addr: &str) -> Result<Self> {
        let page = metrics(addr).await?;
        Ok(Self {
            messages: page.value("rocketmq_messages_in_total{")?,
            bytes: page.value("rocketmq_storage_size{")?,
            syncs: page.value("rocketry_flush_latency_seconds_count{")?,
        })
    }
}

impl<'a> Before<'a> {
    /// `None` of a server that does not count its syncs.
    pub(super) async fn of(server: &'a Server) -> Result<Option<Self>> {
        let Some(metrics) = &server.metrics else {
            return Ok(None);
        };
        sleep(FRESH).await;
        let counts = Counts::of(metrics).await?;
        Ok(Some(Self { metrics, counts }))
    }

    /// What the run came to; the floor is measured in `dir` for as long as the run took.
    pub(super) async fn end(self, figures: &Figures, dir: &Path) -> Result<Syncs> {
        sleep(FRESH).await;
        let (before, after) = (self.counts, Counts::of(self.metrics).await?);
        let syncs = after.syncs - before.syncs;
        if syncs < 1.0 {
            return Err("the server has synced nothing".into());
        }
        let messages_each = (after.messages - before.messages) / syncs;
        let bytes_each = (after.bytes - before.bytes) / syncs;
        let file = dir.join("syncs");
        let duration = Duration::from_secs_f64(figures.seconds);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some ten thousand"
        )]
        let bytes = bytes_each as usize;
        let floor = move || store::syncs_per_second(&file, bytes, duration);
        Ok(Syncs {
            messages_each,
            bytes_each,
            per_second: figures.rate() / messages_each,
            floor_per_second: tokio::task::spawn_blocking(floor).await??,
        })
    }
}
