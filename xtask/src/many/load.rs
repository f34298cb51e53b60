//! The requests that fill a server and send to it, and how they are carried out.

use rocketry_protocol::body::heartbeat::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use rocketry_protocol::header::{
    CreateTopicRequest, SendMessageRequest, UpdateConsumerOffsetRequest,
};
use rocketry_protocol::{RemotingCommand, RequestCode, body};
use tokio::task::JoinSet;

use super::Size;
use crate::Result;
use crate::measured::{Wire, frame};

/// Requests in flight on each of the connections that prepare and send.
const PIPELINE: usize = 16;
const SENDERS: usize = 4;

/// Carries out `count` requests over some connections, each with several under way; every answer must be a success.
pub(super) async fn pipelined(
    broker: &str,
    count: usize,
    request: impl Fn(usize) -> Result<RemotingCommand>,
) -> Result {
    // Made before, so that only the server works while it is measured; the memory is this process's.
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for start in (0..count).step_by(PIPELINE) {
        let mut bytes = Vec::new();
        for n in start..count.min(start + PIPELINE) {
            bytes.extend_from_slice(&frame(request(n)?)?);
        }
        batches.push(bytes);
    }
    let share = batches.len().div_ceil(SENDERS).max(1);
    let mut senders = JoinSet::new();
    let mut left = count;
    for part in batches.chunks(share) {
        let (part, broker) = (part.to_vec(), broker.to_owned());
        let mut requests = left.min(part.len() * PIPELINE);
        left -= requests;
        senders.spawn(async move {
            let mut wire = Wire::connect(&broker).await?;
            for batch in part {
                let batch_len = requests.min(PIPELINE);
                requests -= batch_len;
                wire.send(&batch).await?;
                stored(&wire.answers(batch_len).await?)?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(())
}

/// Connections that messages are spread over, each with its share of what is in flight: as many clients would that each send little.
#[derive(Debug)]
pub(super) struct Spread {
    /// What one task uses in turn: the fewer there are under way on each connection, the more connections a task has.
    lanes: Vec<Vec<Wire>>,
    /// Requests under way on a connection while it is its turn.
    together: usize,
}

impl Spread {
    /// `in_flight` requests over `connections`.
    pub(super) async fn open(broker: &str, connections: usize, in_flight: usize) -> Result<Self> {
        let lanes = connections.clamp(1, in_flight);
        let mut spread = Self {
            lanes: (0..lanes).map(|_| Vec::new()).collect(),
            together: in_flight / lanes,
        };
        for n in 0..connections {
            let wire = Wire::connect(broker).await?;
            if let Some(lane) = spread.lanes.get_mut(n % lanes) {
                lane.push(wire);
            }
        }
        Ok(spread)
    }

    /// Sends about `count` requests; returns how many.
    pub(super) async fn send(
        self,
        count: usize,
        request: impl Fn(usize) -> Result<RemotingCommand>,
    ) -> Result<usize> {
        let turns = count / self.lanes.len() / self.together;
        let mut tasks = JoinSet::new();
        let (mut next, together) = (0, self.together);
        let sent = turns * self.lanes.len() * together;
        for mut lane in self.lanes {
            let mut batches = Vec::with_capacity(turns);
            for _ in 0..turns {
                let mut bytes = Vec::new();
                for n in next..next + together {
                    bytes.extend_from_slice(&frame(request(n)?)?);
                }
                next += together;
                batches.push(bytes);
            }
            tasks.spawn(async move {
                let connections = lane.len();
                for (turn, batch) in batches.into_iter().enumerate() {
                    if let Some(wire) = lane.get_mut(turn % connections) {
                        wire.send(&batch).await?;
                        stored(&wire.answers(together).await?)?;
                    }
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Ok(sent)
    }
}

fn stored(answers: &[RemotingCommand]) -> Result {
    match answers.iter().find(|answer| answer.code != 0) {
        Some(answer) => Err(format!("answered {}: {:?}", answer.code, answer.remark).into()),
        None => Ok(()),
    }
}

pub(super) fn create(queues: i32, n: usize) -> RemotingCommand {
    let topic = format!("topic-{n}");
    RemotingCommand::request(&CreateTopicRequest {
        topic: &topic,
        default_topic: "TBW102",
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: None,
        order: false,
        attributes: None,
        force: None,
    })
}

pub(super) fn heartbeat(size: Size, n: usize) -> Result<RemotingCommand> {
    let topic = format!("topic-{}", n % size.topics);
    let data = HeartbeatData {
        client_id: format!("10.0.0.1@{n}"),
        consumer_data_set: vec![ConsumerData {
            group_name: format!("group-{}", n % size.groups),
            message_model: Some(MessageModel::Clustering),
            consume_type: Some(ConsumeType::Passively),
            subscription_data_set: vec![SubscriptionData::by_tags(topic, "*", 1)],
            ..ConsumerData::default()
        }],
        producer_data_set: vec![ProducerData {
            group_name: "producers".to_owned(),
        }],
        ..HeartbeatData::default()
    };
    Ok(RemotingCommand::bare_request(RequestCode::HEART_BEAT).with_body(body::encode(&data)?))
}

/// Ten queues of progress per group.
pub(super) fn commit(size: Size, n: usize) -> Result<RemotingCommand> {
    let (topic, group) = (
        format!("topic-{}", n % size.topics),
        format!("group-{}", n % size.groups),
    );
    Ok(RemotingCommand::request(&UpdateConsumerOffsetRequest {
        consumer_group: &group,
        topic: &topic,
        queue_id: i32::try_from(n / size.groups % 8)?,
        commit_offset: 0,
        broker_name: None,
    }))
}

/// The topics in turn, and in each the queues.
pub(super) fn send(size: Size, queues: i32, n: usize) -> Result<RemotingCommand> {
    let topic = format!("topic-{}", n % size.topics);
    let round = i32::try_from(n / size.topics)?;
    Ok(RemotingCommand::request(&SendMessageRequest {
        producer_group: "producers",
        topic: &topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: round % queues,
        born_timestamp: 1_700_000_000_000,
        ..SendMessageRequest::default()
    })
    .with_body(vec![b'x'; 1024]))
}
