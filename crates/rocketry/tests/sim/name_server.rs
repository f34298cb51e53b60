//! Simulated name servers: what they know of topics and brokers, and how they misbehave.

use std::{collections::BTreeMap, time::Duration};

use rocketry::{BrokerData, ClusterInfo, QueueData, TopicRouteData};
use rocketry_protocol::{RemotingCommand, body, header::GetRouteInfoRequest};

use crate::{
    broker::Quirk,
    line::Answer,
    world::{HostId, Kind, State, frame, ok, refuse},
};

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct NameServer {
    /// What is wrong with its answers.
    pub(crate) quirk: Option<Quirk>,
    /// The routes of an earlier moment, if it has not heard of anything since.
    pub(crate) stale: Option<BTreeMap<String, TopicRouteData>>,
}

/// Topics by name, with the queues that each broker has of them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Topics(pub(crate) BTreeMap<String, BTreeMap<String, Queues>>);

/// Queues of one topic on one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queues {
    pub(crate) count: i32,
    pub(crate) writable: bool,
}

/// Queues of a topic that is created by its first message.
const NEW_QUEUES: i32 = 4;

impl Topics {
    /// What a broker checks before it stores; creates a topic that nobody knows.
    pub(crate) fn accept(
        &mut self,
        topic: &str,
        broker: &str,
        queue: i32,
    ) -> Result<(), (i32, &'static str)> {
        let queues = self
            .0
            .entry(topic.to_owned())
            .or_default()
            .entry(broker.to_owned())
            .or_insert(Queues {
                count: NEW_QUEUES,
                writable: true,
            });
        if !queues.writable {
            return Err((16, "the topic is read-only"));
        }
        if queue >= queues.count {
            return Err((29, "no such queue"));
        }
        Ok(())
    }

    /// The route that a name server tells which knows these brokers.
    fn route(&self, topic: &str, registered: &BTreeMap<String, String>) -> Option<TopicRouteData> {
        let auto = || {
            let every = |name: &String| {
                let queues = Queues {
                    count: 8,
                    writable: true,
                };
                (name.clone(), queues)
            };
            registered.keys().map(every).collect::<BTreeMap<_, _>>()
        };
        let queues = match topic {
            "TBW102" => auto(),
            _ => self.0.get(topic)?.clone(),
        };
        let mut route = TopicRouteData::default();
        for (name, queues) in queues {
            let Some(address) = registered.get(&name) else {
                continue;
            };
            route.broker_datas.push(BrokerData {
                broker_name: name.clone(),
                cluster: "C".to_owned(),
                broker_addrs: [(0, address.clone())].into(),
                ..BrokerData::default()
            });
            route.queue_datas.push(QueueData {
                broker_name: name,
                perm: if queues.writable { 6 } else { 4 },
                read_queue_nums: queues.count,
                write_queue_nums: queues.count,
                ..QueueData::default()
            });
        }
        (!route.broker_datas.is_empty()).then_some(route)
    }

    /// The routes of this moment.
    pub(crate) fn routes(
        &self,
        registered: &BTreeMap<String, String>,
    ) -> BTreeMap<String, TopicRouteData> {
        self.0
            .keys()
            .map(String::as_str)
            .chain(["TBW102"])
            .filter_map(|topic| Some((topic.to_owned(), self.route(topic, registered)?)))
            .collect()
    }
}

/// What a name server does with `request`, in words and as answers.
pub(crate) fn answer(
    state: &mut State,
    id: HostId,
    request: &RemotingCommand,
    mut delay: Duration,
) -> (String, Vec<Answer>) {
    let Kind::NameServer(server) = &state.hosts[id].kind else {
        return (String::new(), Vec::new());
    };
    let (what, mut reply) = match request.code {
        105 => {
            let header: GetRouteInfoRequest<'_> = request.header().expect("a query's header");
            let topic = header.topic;
            let route = match &server.stale {
                Some(routes) => routes.get(topic).cloned(),
                None => state.topics.route(topic, &state.registered),
            };
            match route {
                Some(route) => {
                    let brokers = route.broker_datas.len();
                    let body = body::encode_standard(&route).expect("a route");
                    (
                        format!("route of {topic}: {brokers} brokers"),
                        ok().with_body(body),
                    )
                }
                None => (
                    format!("no route of {topic}"),
                    refuse(17, "No topic route info"),
                ),
            }
        }
        106 => {
            let mut cluster = ClusterInfo::default();
            for (name, address) in &state.registered {
                let data = BrokerData {
                    broker_name: name.clone(),
                    broker_addrs: [(0, address.clone())].into(),
                    ..BrokerData::default()
                };
                cluster.broker_addr_table.insert(name.clone(), data);
            }
            let body = body::encode(&cluster).expect("a cluster");
            ("cluster".to_owned(), ok().with_body(body))
        }
        code => (format!("unknown request {code}"), refuse(3, "not here")),
    };
    match server.quirk {
        Some(Quirk::Refuse(code)) => reply = refuse(code, "by the script"),
        Some(Quirk::Swallow) => return (format!("{what}, swallowed"), Vec::new()),
        Some(Quirk::CutBefore(cut)) => return (format!("{what}, cut"), vec![Answer::Cut(cut)]),
        Some(Quirk::Late(ms)) => delay += Duration::from_millis(ms),
        Some(Quirk::NoFields) => reply.body = bytes::Bytes::from_static(b"{\"brokerDatas\":[{"),
        _ => {}
    }
    let with = server
        .quirk
        .map(|quirk| format!(", {quirk:?}"))
        .unwrap_or_default();
    (
        format!("{what}{with}"),
        vec![Answer::After(delay, frame(reply, request))],
    )
}
