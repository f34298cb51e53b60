//! Who may do what: signatures of requests, users, and the rules on what each of them may do.
//!
//! Java: `AuthenticationPipeline`, `AuthorizationPipeline` and the classes behind them.

mod accounts;
mod file;
mod first_user;
mod needs;
mod options;
mod rules;

use std::{net::IpAddr, sync::Arc};

use rocketry_protocol::{
    Properties, RemotingCommand, RequestCode, ResponseCode, acl, properties::name, record::Record,
};
use rocketry_remoting::LogLimit;

pub(crate) use self::{
    accounts::{Account, Accounts, is_super, unexpected},
    first_user::add as add_first_user,
    rules::Actions,
};
pub use self::{
    first_user::{FirstUser, MadeUser},
    options::AccessOptions,
};
use self::{needs::Need, rules::Decision};
use crate::{
    fault::Fault,
    names::{HALF_TOPIC, SCHEDULE_TOPIC, TIMER_TOPIC},
};

/// Codes that manage users; they cannot be opened to everybody.
pub(crate) const USER_CODES: std::ops::RangeInclusive<i32> =
    RequestCode::AUTH_CREATE_USER.0..=RequestCode::AUTH_LIST_ACL.0;

/// What the name server tells everybody: where brokers are. A client that no broker lets in hears why from the broker; Java's clients
/// take a name server that refuses them for a topic without a route.
pub(crate) const fn is_route_query(code: RequestCode) -> bool {
    matches!(
        code,
        RequestCode::GET_ROUTEINFO_BY_TOPIC | RequestCode::GET_BROKER_CLUSTER_INFO
    )
}

/// Stands at the door of both ports.
#[derive(Debug)]
pub(crate) struct Guard {
    accounts: Arc<Accounts>,
    options: AccessOptions,
    cluster: String,
}

impl Guard {
    pub(crate) fn new(accounts: Arc<Accounts>, options: AccessOptions, cluster: String) -> Self {
        Self {
            accounts,
            options,
            cluster,
        }
    }

    /// Who sent the request, if they may; `None` for a code that is open to everybody. Reads the body once for its signature.
    pub(crate) fn admit(
        &self,
        request: &RemotingCommand,
        from: IpAddr,
    ) -> Result<Option<Arc<Account>>, Fault> {
        let admitted = self.decide(request, from);
        if let Err(fault) = &admitted {
            log_refused(request.request_code(), from, fault);
        }
        admitted
    }

    fn decide(
        &self,
        request: &RemotingCommand,
        from: IpAddr,
    ) -> Result<Option<Arc<Account>>, Fault> {
        let code = request.request_code();
        if self.options.open_codes.contains(&code.0) {
            return Ok(None);
        }
        let account = self.authenticate(request)?;
        if account.is_super() || self.is_unchecked(code) {
            return Ok(Some(account));
        }
        needs::each(request, &self.cluster, &mut |need| {
            check(&account, need, from)
        })?;
        Ok(Some(account))
    }

    fn is_unchecked(&self, code: RequestCode) -> bool {
        !self.options.permissions || self.options.unchecked_codes.contains(&code.0)
    }

    /// Java: `DefaultAuthenticationHandler`.
    fn authenticate(&self, request: &RemotingCommand) -> Result<Arc<Account>, Fault> {
        let name = acl::access_key(request)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| refused("username cannot be null."))?;
        let Some(account) = self.accounts.find(name) else {
            return Err(refused(format!("User:{name} is not found.")));
        };
        if !account.is_enabled() {
            return Err(refused(format!("User:{name} is disabled.")));
        }
        if !account.signed(request) {
            return Err(refused("check signature failed."));
        }
        Ok(account)
    }

    /// Whether a client that introduced itself as `user` may be shown a half message of `topic`, and decide it. One whose user is not
    /// known may not.
    pub(crate) fn may_be_asked(&self, user: Option<&str>, topic: &str, from: IpAddr) -> bool {
        let account = user.and_then(|name| self.accounts.find(name));
        let Some(account) = account.filter(|one| one.is_enabled()) else {
            return false;
        };
        let caller = self.caller(Some(&account), from, RequestCode::END_TRANSACTION);
        caller
            .account
            .is_none_or(|account| check(account, Need::publish(topic), from).is_ok())
    }

    /// Whom the rules still decide on when the message of an admitted request is found.
    pub(crate) fn caller<'a>(
        &self,
        account: Option<&'a Account>,
        from: IpAddr,
        code: RequestCode,
    ) -> Caller<'a> {
        Caller {
            account: account.filter(|one| !one.is_super() && !self.is_unchecked(code)),
            from,
            code,
        }
    }
}

/// Who sent an admitted request, for what only its message tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// `None`: may do everything.
    account: Option<&'a Account>,
    from: IpAddr,
    code: RequestCode,
}

impl Caller<'_> {
    /// The caller where nobody is asked who they are.
    pub(crate) const fn anybody(from: IpAddr, code: RequestCode) -> Self {
        Self {
            account: None,
            from,
            code,
        }
    }

    /// Refuses whoever may not reach a message that was found by its place, whatever topic the request spoke of; `group` is the one
    /// that the request was admitted for. Differs from Java, where every user can read every message so.
    pub(crate) fn may_reach(
        &self,
        record: &Record<'_>,
        group: Option<&str>,
        actions: Actions,
    ) -> Result<(), Fault> {
        let Some(account) = self.account else {
            return Ok(());
        };
        // What waits for its time or its decision is of the topic that it is meant for.
        let real = [SCHEDULE_TOPIC, TIMER_TOPIC, HALF_TOPIC]
            .contains(&record.topic)
            .then(|| Properties::parse_bytes(record.properties))
            .and_then(|properties| properties.get(name::REAL_TOPIC).map(str::to_owned));
        let topic = real.as_deref().unwrap_or(record.topic);
        match Need::messages(topic, group, actions) {
            Some(need) => self.check(account, need),
            None => Ok(()),
        }
    }

    /// Refuses whoever may not send to the topic of a half message. Differs from Java, which asks for the topic that the request names,
    /// if any.
    pub(crate) fn may_decide(&self, topic: &str) -> Result<(), Fault> {
        match self.account {
            Some(account) => self.check(account, Need::publish(topic)),
            None => Ok(()),
        }
    }

    fn check(&self, account: &Account, need: Need<'_>) -> Result<(), Fault> {
        let checked = check(account, need, self.from);
        if let Err(fault) = &checked {
            log_refused(self.code, self.from, fault);
        }
        checked
    }
}

/// Java: `AclAuthorizationHandler`.
fn check(account: &Account, need: Need<'_>, from: IpAddr) -> Result<(), Fault> {
    let why = match account.decide(need, from) {
        Decision::Allowed => return Ok(()),
        Decision::Denied => "the decision is deny.",
        Decision::NoRule => "no matched policies.",
    };
    Err(refused(format!(
        "User:{} has no permission to access {} from {}, {why}",
        account.name(),
        need.resource(),
        from.to_canonical()
    )))
}

impl Need<'_> {
    fn resource(&self) -> String {
        format!("{}:{}", self.kind.name(), self.name)
    }
}

/// 16, as Java answers whoever may not.
pub(crate) fn refused(remark: impl Into<String>) -> Fault {
    Fault::new(ResponseCode::NO_PERMISSION, remark)
}

/// A client that may not tries again and again: one line in a while says it all.
fn log_refused(code: RequestCode, from: IpAddr, fault: &Fault) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(held_back) = LIMIT.pass() {
        let (code, remark) = (code.0, &*fault.remark);
        tracing::warn!(code, remark, %from, held_back, "a request was refused");
    }
}
