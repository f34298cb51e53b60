//! What to do about a failure: one sentence per cause that this crate can tell apart.

use std::borrow::Cow;

use rocketry_protocol::ResponseCode;

use crate::error::{ErrorKind, Phase};

type Hint = Option<Cow<'static, str>>;

/// For a request that got no answer from a broker at `address`.
pub(crate) fn lost(kind: ErrorKind, phase: Phase, address: &str) -> Hint {
    match kind {
        ErrorKind::BrokerUnreachable => Some(
            format!(
                "check that the broker runs and that this machine can reach {address}: the address is the one the broker \
                 registered (brokerIP1 of Apache RocketMQ, --host of `rocketry serve`)"
            )
            .into(),
        ),
        ErrorKind::Timeout if phase == Phase::Connect => Some(
            format!(
                "nothing answers at {address}, the address the broker registered: if this machine cannot reach it, set \
                 brokerIP1 of the broker (--host of `rocketry serve`) to one that it can"
            )
            .into(),
        ),
        ErrorKind::Timeout => Some(
            "the broker is slow or gone: allow more time (timeout), or look at the broker's disk and load".into(),
        ),
        ErrorKind::ConnectionLost => {
            Some("the broker closed the connection, for instance because it restarts: send again".into())
        }
        ErrorKind::BrokerUnknown => Some(
            "no name server knows an address of the broker's master: is it running and registered?".into(),
        ),
        ErrorKind::Overloaded => Some("send less at once, or allow more time".into()),
        _ => None,
    }
}

/// For an answer that is not a success.
pub(crate) fn refused(code: ResponseCode, remark: Option<&str>, topic: &str) -> Hint {
    if let Some(hint) = access(code, remark) {
        return Some(hint);
    }
    if remark.is_some_and(|remark| remark.starts_with("timer message illegal")) {
        return Some("the broker keeps a message back for timerMaxDelaySec at most, which is 3 days unless set".into());
    }
    Some(match code.0 {
        2 | 215 => "the broker is overloaded: send more slowly, or look at its disk".into(),
        13 => "the broker's limits are maxMessageSize (4 MiB unless set) and 32767 bytes of properties".into(),
        14 => "the broker does not take writes: its disk is full, it is a slave, or it is shutting down".into(),
        16 => "the topic or broker is set to read-only, or the user may not write".into(),
        17 => format!("create the topic: rocketry topic create {topic}").into(),
        29 => "the broker has fewer queues than the route says: the route is refreshed within 30 s".into(),
        3 => "the broker is too old for this request".into(),
        _ => return None,
    })
}

/// A broker answers the same code to those it does not know and to those who may not. Java: `DefaultAuthenticationHandler`,
/// `AclAuthorizationHandler`, whose words these are.
pub(crate) fn access(code: ResponseCode, remark: Option<&str>) -> Hint {
    let remark = remark.filter(|_| code == ResponseCode::NO_PERMISSION)?;
    if let Some((user, resource)) = missing_rule(remark) {
        return Some(
            format!(
                "a super user may allow it: rocketry acl create {user} --resource {resource} --actions ...; this \
                 replaces a rule on {resource} that {user} has already, so name its actions as well (rocketry acl get {user})"
            )
            .into(),
        );
    }
    unauthenticated(remark).map(Into::into)
}

/// Who lacks what, in `User:alice has no permission to access Topic:T from 10.0.0.1, no matched policies.`
fn missing_rule(remark: &str) -> Option<(&str, &str)> {
    let (user, rest) = remark
        .split_once("User:")?
        .1
        .split_once(" has no permission to access ")?;
    let (resource, _) = rest.split_once(" from ")?;
    Some((user, resource))
}

fn unauthenticated(remark: &str) -> Option<&'static str> {
    if remark.contains("username cannot be null") {
        Some("the server wants to know who asks: give credentials (--access-key, --secret-key)")
    } else if remark.contains("check signature failed") {
        Some("the secret key is not the one that the server has for this user")
    } else if remark.contains("is not found") {
        Some("the server does not know this user: check the access key")
    } else {
        None
    }
}
