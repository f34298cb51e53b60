//! A reply: the message that answers another one, and how it comes back to the client that asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use crate::{
    DecodeError, Message, MessageExt, Properties, compress::Compression,
    header::PushReplyMessageRequest, properties::name, sys_flag,
};

/// A message that nobody waits for a reply to. Java: `ClientErrorCode.CREATE_REPLY_MESSAGE_EXCEPTION`, 10007.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a request: it has no property {missing}")]
pub struct NotARequest {
    missing: &'static str,
}

/// What ends the name of the topic that the replies of a cluster go through. Java: `MixAll.REPLY_TOPIC_POSTFIX`.
const REPLY_TOPIC_SUFFIX: &str = "_REPLY_TOPIC";

/// The topic that the replies of a cluster go through. Java: `MixAll.getReplyTopic`.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}{REPLY_TOPIC_SUFFIX}")
}

impl Message {
    /// The reply to `request`, to be sent with any producer of the same cluster.
    ///
    /// # Errors
    /// A message that was not sent as a request, or that no broker has named its cluster in. Java misses nothing but the cluster:
    /// `MessageUtil.createReplyMessage`.
    pub fn reply_to(request: &MessageExt, body: impl Into<Bytes>) -> Result<Self, NotARequest> {
        let need = |missing| request.property(missing).ok_or(NotARequest { missing });
        let cluster = need(name::CLUSTER)?;
        let correlation = need(name::CORRELATION_ID)?;
        let client = need(name::REPLY_TO_CLIENT)?;
        let mut reply = Self::new(reply_topic(cluster), body);
        let properties = reply.properties_mut();
        properties.set(name::MSG_TYPE, REPLY);
        properties.set(name::CORRELATION_ID, correlation);
        properties.set(name::REPLY_TO_CLIENT, client);
        properties.set(name::TTL, request.property(name::TTL).unwrap_or_default());
        Ok(reply)
    }
}

/// Value of `MSG_TYPE`. Java: `MixAll.REPLY_MESSAGE_FLAG`.
const REPLY: &str = "reply";

impl MessageExt {
    /// A reply as the broker pushes it: header and body of the request (326), and when it arrived, in ms since 1970. It is not stored
    /// anywhere that the offsets could tell.
    ///
    /// # Errors
    /// A body that does not decompress, or to more than `max_body_bytes`.
    ///
    /// Java: `ClientRemotingProcessor.receiveReplyMessage`.
    pub fn from_reply(
        header: &PushReplyMessageRequest<'_>,
        body: &Bytes,
        arrived_ms: i64,
        max_body_bytes: usize,
    ) -> Result<Self, DecodeError> {
        let body = if header.sys_flag & sys_flag::COMPRESSED == 0 {
            body.clone()
        } else {
            Compression::from_sys_flag(header.sys_flag)?
                .decompress(body, max_body_bytes)?
                .into()
        };
        let mut properties = Properties::parse(header.properties.unwrap_or_default());
        properties.set(name::ARRIVE_TIME, &arrived_ms.to_string());
        Ok(Self {
            topic: header.topic.into(),
            broker_name: "".into(),
            queue_id: header.queue_id,
            queue_offset: 0,
            commit_log_offset: 0,
            store_size: 0,
            body,
            body_crc: 0,
            flag: header.flag,
            sys_flag: header.sys_flag & !sys_flag::COMPRESSED,
            born_ms: header.born_timestamp,
            born_host: host(header.born_host),
            store_ms: header.store_timestamp,
            store_host: host(header.store_host),
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            properties,
        })
    }
}

/// `ip:port` as Java writes it: an IPv6 address stands without brackets. An address that cannot be read is no reason to lose a reply.
fn host(text: &str) -> SocketAddr {
    let parse = || -> Option<SocketAddr> {
        let (ip, port) = text.rsplit_once(':')?;
        let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    };
    parse().unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(properties: &str) -> MessageExt {
        let header = PushReplyMessageRequest {
            topic: "T",
            properties: Some(properties),
            ..PushReplyMessageRequest::default()
        };
        MessageExt::from_reply(&header, &Bytes::from_static(b"?"), 1, 10).unwrap()
    }

    /// P-116
    #[test]
    fn a_reply_goes_through_the_cluster_of_its_request() {
        let whole =
            "CLUSTER\x01C\x02CORRELATION_ID\x01id\x02REPLY_TO_CLIENT\x01me\x02TTL\x013000\x02";
        let reply = Message::reply_to(&request(whole), "answer").unwrap();
        assert_eq!(
            (reply.topic(), &**reply.body()),
            ("C_REPLY_TOPIC", &b"answer"[..])
        );
        assert_eq!(
            reply.properties().as_str(),
            "MSG_TYPE\x01reply\x02CORRELATION_ID\x01id\x02REPLY_TO_CLIENT\x01me\x02TTL\x013000\x02"
        );
        for missing in ["CLUSTER", "CORRELATION_ID", "REPLY_TO_CLIENT"] {
            let mut incomplete = request(whole);
            incomplete.properties.remove(missing);
            let error = Message::reply_to(&incomplete, "answer").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the message is not a request: it has no property {missing}")
            );
        }
    }

    /// P-113
    #[test]
    fn a_pushed_reply_is_a_message_with_a_time_of_arrival() {
        let body = Compression::Zlib.compress(&[b'a'; 100], 5).unwrap();
        let header = PushReplyMessageRequest {
            topic: "C_REPLY_TOPIC",
            queue_id: 3,
            sys_flag: 769,
            born_timestamp: 1,
            flag: 7,
            properties: Some("CORRELATION_ID\x01id\x02"),
            born_host: "0:0:0:0:0:0:0:1:1234",
            store_host: "10.0.0.1:10911",
            store_timestamp: 2,
            ..PushReplyMessageRequest::default()
        };
        let reply = MessageExt::from_reply(&header, &body.clone().into(), 99, 100).unwrap();
        assert_eq!((&*reply.body, reply.sys_flag), (&[b'a'; 100][..], 768));
        assert_eq!(reply.property("ARRIVE_TIME"), Some("99"));
        assert_eq!(reply.property("CORRELATION_ID"), Some("id"));
        assert_eq!(reply.born_host.to_string(), "[::1]:1234");
        assert_eq!(reply.store_host.to_string(), "10.0.0.1:10911");
        assert_eq!((reply.queue_id, reply.flag), (3, 7));
        assert!(MessageExt::from_reply(&header, &body.into(), 99, 99).is_err());
        assert_eq!(host("nonsense").to_string(), "0.0.0.0:0");
    }
}
