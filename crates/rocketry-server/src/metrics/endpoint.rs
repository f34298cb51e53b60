//! `GET /metrics` over HTTP/1.1, one request per connection.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use rocketry_remoting::ListenerCounts;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{broker, oldest::Oldest, page::Page, process};
use crate::{
    ServerConfig,
    admission::{Admission, Refused},
    broker::Broker,
    name_server::NameServer,
};

/// Connections served at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 8;

/// Longest head of a request in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Longest time for a request to come, and for an answer to leave.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A page this young is given again: however often it is asked for, it is made once a second.
const FRESH: Duration = Duration::from_secs(1);

/// Where the numbers are from.
pub(crate) struct Sources {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) name_server: Option<Arc<NameServer>>,
    pub(crate) admission: Arc<Admission>,
    /// By role.
    pub(crate) listeners: Vec<(&'static str, ListenerCounts)>,
}

/// Serves the page until the server stops.
pub(crate) struct Endpoint {
    sources: Arc<Sources>,
    oldest: Arc<parking_lot::Mutex<Oldest>>,
    /// The last page while it is fresh: with very many topics and groups it has megabytes.
    made: Mutex<Option<(Instant, Bytes)>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Endpoint {
    /// Serves `listener` with tasks of `tasks`, until `stop`.
    pub(crate) fn spawn(
        sources: Sources,
        listener: TcpListener,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) {
        let endpoint = Arc::new(Self {
            sources: Arc::new(sources),
            oldest: Arc::default(),
            made: Mutex::new(None),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(async move {
            let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    accepted = accept(&listener, &room) => accepted,
                };
                let Some((stream, permit)) = accepted else {
                    // Mostly too many open files; the next one may find some.
                    sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let serving = Arc::clone(&endpoint);
                endpoint.spawn_until_stopped(async move {
                    serving.serve(stream).await;
                    drop(permit);
                });
            }
        });
    }

    fn spawn_until_stopped(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    async fn serve(self: &Arc<Self>, mut stream: TcpStream) {
        let Ok(Some(head)) = timeout(TIMEOUT, head(&mut stream)).await else {
            return;
        };
        let (status, kind, body) = self.answer(&head).await;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await
        };
        if let Ok(Err(error)) = timeout(TIMEOUT, answer).await {
            tracing::debug!(%error, "a reader of metrics left");
        }
    }

    async fn answer(self: &Arc<Self>, head: &str) -> (&'static str, &'static str, Bytes) {
        const TEXT: &str = "text/plain; charset=utf-8";
        let mut words = head.split_whitespace();
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        match (method, path) {
            (Some("GET"), "/metrics") => (
                "200 OK",
                "text/plain; version=0.0.4; charset=utf-8",
                self.page().await,
            ),
            (Some("GET"), _) => (
                "404 Not Found",
                TEXT,
                Bytes::from_static(b"the metrics are at /metrics\n"),
            ),
            _ => (
                "405 Method Not Allowed",
                TEXT,
                Bytes::from_static(b"GET only\n"),
            ),
        }
    }

    /// Whoever asks meanwhile gets the page that is being made.
    async fn page(self: &Arc<Self>) -> Bytes {
        let mut made = self.made.lock().await;
        if let Some((at, page)) = &*made
            && at.elapsed() < FRESH
        {
            return page.clone();
        }
        let (sources, oldest) = (Arc::clone(&self.sources), Arc::clone(&self.oldest));
        // It looks at every queue, and at the disk.
        let page = tokio::task::spawn_blocking(move || sources.page(&mut oldest.lock())).await;
        let Ok(page) = page.map(Bytes::from) else {
            return Bytes::from_static(b"# this page could not be made\n");
        };
        *made = Some((Instant::now(), page.clone()));
        self.forget_later();
        page
    }

    /// Once a page is no longer fresh, it is of no use to anybody.
    fn forget_later(self: &Arc<Self>) {
        let endpoint = Arc::clone(self);
        self.spawn_until_stopped(async move {
            sleep(FRESH).await;
            let mut made = endpoint.made.lock().await;
            // another may have been made in the meantime, which is fresh
            made.take_if(|(at, _)| at.elapsed() >= FRESH);
        });
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a reader of metrics");
            None
        }
    }
}

/// The head of a request; `None` if it is too long, or ends before its end.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if head.len() >= MAX_HEAD || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return String::from_utf8(head).ok();
        }
    }
}

impl Sources {
    fn page(&self, oldest: &mut Oldest) -> String {
        let config = &self.config;
        let role = if self.broker.is_some() {
            "broker"
        } else {
            "namesrv"
        };
        let common = [
            ("cluster", config.cluster_name.as_str()),
            ("node_type", role),
            ("node_id", config.broker_name.as_str()),
        ];
        let mut page = Page::new(&common, config.metrics_max_series);
        if let Some(broker) = &self.broker {
            broker::collect(&mut page, broker, oldest);
        }
        if let Some(name_server) = &self.name_server {
            let (brokers, topics) = name_server.counts();
            page.single(
                "rocketry_namesrv_brokers",
                "gauge",
                "Brokers registered here",
                brokers,
            );
            page.single(
                "rocketry_namesrv_topics",
                "gauge",
                "Topics with a route here",
                topics,
            );
        }
        self.load(&mut page);
        process::collect(&mut page);
        page.finish()
    }

    fn load(&self, page: &mut Page) {
        let load = self.admission.load();
        page.single(
            "rocketry_requests_in_flight",
            "gauge",
            "Requests without an answer, waiting ones included (--max-in-flight)",
            load.unanswered(),
        );
        page.single(
            "rocketry_response_bytes_queued",
            "gauge",
            "Bytes of answers that wait for clients to read them (--max-response-bytes)",
            load.response_bytes(),
        );
        let mut refused = page.family(
            "rocketry_requests_refused_total",
            "counter",
            "Requests answered SYSTEM_BUSY because of a limit, by limit",
        );
        for why in Refused::ALL {
            refused.add(&[("limit", why.name())], self.admission.refused(why));
        }
        drop(refused);
        let mut open = page.family(
            "rocketry_connections",
            "gauge",
            "Open connections by port (--max-connections)",
        );
        for (port, listener) in &self.listeners {
            open.add(&[("port", port)], listener.connections());
        }
        drop(open);
        let mut refused = page.family(
            "rocketry_connections_refused_total",
            "counter",
            "Connections closed because as many were open as allowed, by port",
        );
        for (port, listener) in &self.listeners {
            refused.add(&[("port", port)], listener.refused());
        }
    }
}
