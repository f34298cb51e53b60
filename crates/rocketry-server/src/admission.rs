//! What the server takes on at once, and how it says no.
//!
//! Sends, parked pulls and queries have bounds of their own where they wait. Here are the two that span everything: requests that are
//! not answered yet, and bytes of answers that their clients have not taken. Who exceeds one is answered code 2 with the number, the
//! limit and the option that raises it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode};
use rocketry_remoting::{Connection, Load, LogLimit};

use crate::{ServerConfig, fault::Fault};

/// Unread bytes that a client may have without being held to account for what others leave unread.
const FREE_BACKLOG: usize = 64 * 1024;

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// One connection has too many requests under way.
    Connection,
    /// All of them together have.
    InFlight,
    /// Clients leave too many bytes of answers unread.
    Responses,
}

impl Refused {
    pub(crate) const ALL: [Self; 3] = [Self::Connection, Self::InFlight, Self::Responses];

    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "in_flight_of_connection",
            Self::InFlight => "in_flight",
            Self::Responses => "queued_responses",
        }
    }
}

/// The bounds, and what was refused because of them.
pub(crate) struct Admission {
    load: Arc<Load>,
    max_in_flight: usize,
    max_in_flight_of_connection: usize,
    max_response_bytes: usize,
    refused: [AtomicU64; Refused::ALL.len()],
    told: LogLimit,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

impl Admission {
    /// `load` counts for every connection of the server.
    pub(crate) fn new(config: &ServerConfig, load: Arc<Load>) -> Self {
        Self {
            load,
            max_in_flight: config.max_in_flight,
            max_in_flight_of_connection: config.max_in_flight_of_connection,
            max_response_bytes: config.max_response_bytes,
            refused: Default::default(),
            told: LogLimit::new(),
        }
    }

    /// Whoever reads its answers is served although others do not, up to twice the bound.
    fn is_part_of_it(&self, connection: &Connection) -> bool {
        connection.response_bytes() > FREE_BACKLOG
            || self.load.response_bytes() > self.max_response_bytes.saturating_mul(2)
    }

    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// How many requests were refused for a reason.
    pub(crate) fn refused(&self, why: Refused) -> u64 {
        self.count(why).map_or(0, |count| count.load(Relaxed))
    }

    fn count(&self, why: Refused) -> Option<&AtomicU64> {
        self.refused.get(why as usize)
    }

    /// The answer to a request that is not taken. The request itself counts as under way already.
    pub(crate) fn refuse(
        &self,
        request: &RemotingCommand,
        connection: &Connection,
    ) -> Option<RemotingCommand> {
        let (why, found, limit, option) = if self.load.unanswered() > self.max_in_flight {
            let (found, limit) = (self.load.unanswered(), self.max_in_flight);
            (Refused::InFlight, found, limit, "max-in-flight")
        } else if connection.unanswered() > self.max_in_flight_of_connection {
            let (found, limit) = (connection.unanswered(), self.max_in_flight_of_connection);
            let option = "max-in-flight-of-connection";
            (Refused::Connection, found, limit, option)
        } else if self.load.response_bytes() > self.max_response_bytes
            && has_long_answer(request)
            && self.is_part_of_it(connection)
        {
            let (found, limit) = (self.load.response_bytes(), self.max_response_bytes);
            (Refused::Responses, found, limit, "max-response-bytes")
        } else {
            return None;
        };
        if let Some(count) = self.count(why) {
            count.fetch_add(1, Relaxed);
        }
        let what = match why {
            Refused::InFlight => "requests are under way",
            Refused::Connection => "requests of this connection are under way",
            Refused::Responses => "bytes of answers are not read by their clients",
        };
        let remark = format!(
            "[OVERLOAD]system busy, start flow control for a while: {found} {what}, the limit is {limit} (--{option})"
        );
        if let Some(held_back) = self.told.pass() {
            tracing::warn!(peer = %connection.peer_addr(), code = request.code, held_back, "{remark}");
        }
        Some(Fault::new(ResponseCode::SYSTEM_BUSY, remark).into_response())
    }
}

/// Those with short answers go on: sends, acknowledgements, and what keeps a client alive.
fn has_long_answer(request: &RemotingCommand) -> bool {
    !matches!(
        request.request_code(),
        RequestCode::SEND_MESSAGE
            | RequestCode::SEND_MESSAGE_V2
            | RequestCode::SEND_BATCH_MESSAGE
            | RequestCode::SEND_REPLY_MESSAGE
            | RequestCode::SEND_REPLY_MESSAGE_V2
            | RequestCode::CONSUMER_SEND_MSG_BACK
            | RequestCode::END_TRANSACTION
            | RequestCode::HEART_BEAT
            | RequestCode::UNREGISTER_CLIENT
            | RequestCode::UPDATE_CONSUMER_OFFSET
            | RequestCode::QUERY_CONSUMER_OFFSET
            | RequestCode::LOCK_BATCH_MQ
            | RequestCode::UNLOCK_BATCH_MQ
            | RequestCode::ACK_MESSAGE
            | RequestCode::BATCH_ACK_MESSAGE
            | RequestCode::CHANGE_MESSAGE_INVISIBLETIME
            | RequestCode::REGISTER_BROKER
            | RequestCode::UNREGISTER_BROKER
            | RequestCode::BROKER_HEARTBEAT
            | RequestCode::QUERY_DATA_VERSION
    )
}
