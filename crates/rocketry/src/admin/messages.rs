//! Messages by their ids and keys.

use std::sync::Arc;

use rocketry_protocol::{
    MessageExt, ResponseCode,
    header::{QueryMessageRequest, ViewMessageRequest},
    id,
};
use rocketry_remoting::Deadline;
use tokio::task::JoinSet;

use super::{Admin, any_address, unreadable};
use crate::{
    clock,
    error::{Error, ErrorKind},
};

/// Which messages [`Admin::query_messages`] looks for: `QueryOptions { max_messages: 100, ..Default::default() }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryOptions {
    /// Most messages that one broker returns; brokers have a limit of their own. Default 32.
    pub max_messages: i32,
    /// Stored at this time or later, in ms since 1970. Default 0.
    pub from_ms: i64,
    /// Stored at this time or earlier, in ms since 1970. Default: without end.
    pub until_ms: i64,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            max_messages: 32,
            from_ms: 0,
            until_ms: i64::MAX,
        }
    }
}

/// What brokers found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueryResult {
    /// The messages, by store time.
    pub messages: Vec<MessageExt>,
    /// Why brokers did not answer. Java logs it.
    pub failures: Vec<Error>,
}

/// Names of index types on the wire.
const KEYS: &str = "K";
const UNIQUE_IDS: &str = "U";

/// How far back a unique id is looked for. Java: `MQAdminImpl.queryMessageByUniqKey`.
const UNIQUE_ID_WINDOW_MS: i64 = 3 * 24 * 3600 * 1000;

impl Admin {
    /// The message of an id, either kind: the offset message id, which names the broker's address and the place in its log, or the
    /// unique id, which every broker of the topic is asked for among the messages of the last three days.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and what asking a broker can fail with.
    ///
    /// Java: `MQAdminImpl.viewMessage`, `queryMessageByUniqKey`.
    pub async fn view_message(&self, topic: &str, id: &str) -> Result<MessageExt, Error> {
        let action = format!("view message {id:?}");
        let deadline = self.deadline();
        // unique ids have the length of offset ids: what reads as one may be the other
        let by_offset = match id::parse_offset_msg_id(id) {
            Ok((host, offset)) => {
                let address = host.to_string();
                let viewed = self.message_at(&action, topic, &address, offset, deadline);
                match viewed.await {
                    Ok(message) => return Ok(message),
                    Err(error) => Some(error),
                }
            }
            Err(_) => None,
        };
        let since = QueryOptions {
            from_ms: clock::wall_ms() - UNIQUE_ID_WINDOW_MS,
            ..QueryOptions::default()
        };
        let found = self.query(&action, topic, (UNIQUE_IDS, id), since).await;
        let found = found.and_then(|found| {
            let message = found.messages.into_iter().next();
            message.ok_or_else(|| not_found(&action, topic, &found.failures))
        });
        match (found, by_offset) {
            // a broker that did not answer may have the message; one that refused has not
            (Err(_), Some(error)) if error.kind() != ErrorKind::Refused => Err(error),
            (found, _) => found,
        }
    }

    /// The messages of a topic that carry `key`, from every broker that has the topic: asked at the same time, each at its master or,
    /// without one, at a slave. Brokers find hashes; what does not match exactly is dropped here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::TopicNotFound`], and, when no broker answered, why one did not.
    ///
    /// Java: `MQAdminImpl.queryMessage`, which waits 24 s for a broker that cannot be asked.
    pub async fn query_messages(
        &self,
        topic: &str,
        key: &str,
        options: QueryOptions,
    ) -> Result<QueryResult, Error> {
        let action = format!("query messages of topic {topic:?} by key {key:?}");
        let found = self.query(&action, topic, (KEYS, key), options).await?;
        if found.messages.is_empty() {
            return Err(not_found(&action, topic, &found.failures));
        }
        Ok(found)
    }

    async fn message_at(
        &self,
        action: &str,
        topic: &str,
        address: &str,
        offset: i64,
        deadline: Deadline,
    ) -> Result<MessageExt, Error> {
        let namespace = &self.core().namespace;
        let topic = namespace.wrap(topic);
        let request = ViewMessageRequest {
            topic: Some(&*topic).filter(|topic| !topic.is_empty()),
            offset,
            broker_name: None,
        };
        let reply = self
            .ask_broker(action, "broker", address, &request, deadline)
            .await?;
        let unnamed: Arc<str> = "".into();
        let messages = MessageExt::decode_all(&reply.body, &unnamed)
            .map_err(|error| unreadable(action, &error))?;
        let message = messages.into_iter().next();
        let message = message.map(|message| namespace.unwrap_received(message));
        message.ok_or_else(|| not_found(action, &topic, &[]))
    }

    /// Asks every broker of the topic. An error if none answers.
    async fn query(
        &self,
        action: &str,
        topic: &str,
        (index, key): (&'static str, &str),
        options: QueryOptions,
    ) -> Result<QueryResult, Error> {
        let deadline = self.deadline();
        let route = self.route(action, topic, deadline).await?;
        let mut asked = JoinSet::new();
        for broker in route.broker_datas {
            let Some(address) = any_address(&broker).cloned() else {
                continue;
            };
            let (admin, action) = (self.clone(), action.to_owned());
            let (topic, key) = (topic.to_owned(), key.to_owned());
            asked.spawn(async move {
                let broker = (broker.broker_name.into(), address);
                admin
                    .query_one(&action, broker, &topic, (index, &key), options, deadline)
                    .await
            });
        }
        let mut result = QueryResult {
            messages: Vec::new(),
            failures: Vec::new(),
        };
        let mut answered = false;
        for answer in asked.join_all().await {
            match answer {
                Ok(messages) => {
                    answered = true;
                    result.messages.extend(messages);
                }
                Err(error) => result.failures.push(error),
            }
        }
        if !answered && let Some(failure) = result.failures.pop() {
            return Err(failure);
        }
        result.messages.sort_by_key(|message| message.store_ms);
        Ok(result)
    }

    async fn query_one(
        &self,
        action: &str,
        (broker, address): (Arc<str>, String),
        topic: &str,
        (index, key): (&str, &str),
        options: QueryOptions,
        deadline: Deadline,
    ) -> Result<Vec<MessageExt>, Error> {
        let namespace = &self.core().namespace;
        let topic = namespace.wrap(topic);
        let request = QueryMessageRequest {
            topic: &topic,
            key,
            max_num: options.max_messages,
            begin_timestamp: options.from_ms,
            end_timestamp: options.until_ms,
            index_type: Some(index),
            last_key: None,
            unique_key_query: Some(index == UNIQUE_IDS),
            broker_name: Some(&broker),
        };
        let reply = super::ask_any(
            self.core(),
            action,
            (&broker, &address),
            rocketry_protocol::RemotingCommand::request(&request),
            deadline,
            &[ResponseCode::SUCCESS, ResponseCode::QUERY_NOT_FOUND],
        )
        .await?;
        let messages = MessageExt::decode_all(&reply.body, &broker)
            .map_err(|error| unreadable(action, &error))?;
        let matches = |message: &MessageExt| {
            *message.topic == *topic
                && match index {
                    UNIQUE_IDS => message.msg_id() == key,
                    _ => message.keys().any(|known| known == key),
                }
        };
        let exact = messages.into_iter().filter(matches);
        Ok(exact.map(|m| namespace.unwrap_received(m)).collect())
    }
}

fn not_found(action: &str, topic: &str, failures: &[Error]) -> Error {
    let error = Error::new(
        ErrorKind::NotFound,
        action.to_owned(),
        match failures.first() {
            Some(failure) => format!("not found, but a broker did not answer: {failure}"),
            None => "no broker has it".to_owned(),
        },
    );
    error.with_topic(topic)
}
