//! Users and what they may do (3001 to 3010). Java: `AdminBrokerProcessor`.

use std::sync::Arc;

use rocketry_protocol::{
    RemotingCommand, RequestCode, ResponseCode, acl, body,
    body::access::{AclInfo, UserInfo},
    header::{
        CreateAclRequest, CreateUserRequest, DeleteAclRequest, DeleteUserRequest, GetAclRequest,
        GetUserRequest, ListAclRequest, ListUserRequest,
    },
};
use rocketry_remoting::Responder;
use serde::Serialize;
use tokio_util::task::TaskTracker;

use super::{body_of, encoded, ok, ok_body};
use crate::{
    access::{Account, Accounts, is_super, refused, unexpected},
    fault::{Fault, Reply, into_response},
};

/// Carries out any of the ten, away from the connection's task: changes are written to disk before they are answered. `caller` is who
/// sent the request, as far as that was proved.
pub(crate) fn manage(
    accounts: &Arc<Accounts>,
    tasks: &TaskTracker,
    request: RemotingCommand,
    caller: Option<Arc<Account>>,
    responder: Responder,
) {
    let accounts = Arc::clone(accounts);
    tasks.spawn_blocking(move || {
        let office = Office {
            accounts: &accounts,
            request: &request,
            caller: caller.as_deref(),
        };
        // Java starts out with this remark, and takes it away from failures only.
        let answer = office
            .answer()
            .map(|reply| reply.with_remark("not set any response code"));
        responder.respond(into_response(answer));
    });
}

struct Office<'a> {
    accounts: &'a Accounts,
    request: &'a RemotingCommand,
    caller: Option<&'a Account>,
}

impl Office<'_> {
    fn answer(&self) -> Reply {
        match self.request.request_code() {
            RequestCode::AUTH_CREATE_USER => self.create_user(),
            RequestCode::AUTH_UPDATE_USER => self.update_user(),
            RequestCode::AUTH_DELETE_USER => self.delete_user(),
            RequestCode::AUTH_GET_USER => self.user(),
            RequestCode::AUTH_LIST_USER => self.users(),
            // Java does the same for both.
            RequestCode::AUTH_CREATE_ACL | RequestCode::AUTH_UPDATE_ACL => self.put_acl(),
            RequestCode::AUTH_DELETE_ACL => self.delete_acl(),
            RequestCode::AUTH_GET_ACL => self.acl(),
            _ => self.acls(),
        }
    }

    fn create_user(&self) -> Reply {
        let header: CreateUserRequest<'_> = self.request.header()?;
        let user = self.user_of_body(header.username)?;
        if is_super(&user) && self.is_bound()? {
            return Err(Fault::system_error(
                "The super user can only be create by super user",
            ));
        }
        self.accounts.create_user(user)?;
        Ok(ok())
    }

    fn update_user(&self) -> Reply {
        let header: CreateUserRequest<'_> = self.request.header()?;
        let user = self.user_of_body(header.username)?;
        let bound = self.is_bound()?;
        if is_super(&user) && bound {
            return Err(Fault::system_error(ONLY_SUPER));
        }
        if bound && self.is_super_now(&user.username) {
            return Err(refused(ONLY_SUPER));
        }
        self.accounts.update_user(user)?;
        Ok(ok())
    }

    fn delete_user(&self) -> Reply {
        let header: DeleteUserRequest<'_> = self.request.header()?;
        let name = header.username.unwrap_or_default();
        if name.trim().is_empty() {
            return Err(refused("username can not be blank"));
        }
        if self.is_super_now(name) && self.is_bound()? {
            return Err(refused(ONLY_SUPER));
        }
        self.accounts.delete_user(name)?;
        Ok(ok())
    }

    fn user(&self) -> Reply {
        let header: GetUserRequest<'_> = self.request.header()?;
        let name = named(header.username.filter(|name| !name.trim().is_empty()))?;
        match self.accounts.user(name) {
            Some(user) => Ok(ok_body(encoded(&self.shown(user))?)),
            None => Ok(ok()),
        }
    }

    fn users(&self) -> Reply {
        let header: ListUserRequest<'_> = self.request.header()?;
        let users = self.accounts.users(header.filter);
        let shown: Vec<UserInfo> = users.into_iter().map(|user| self.shown(user)).collect();
        list(&shown)
    }

    fn put_acl(&self) -> Reply {
        let header: CreateAclRequest<'_> = self.request.header()?;
        let nothing = || Fault::system_error("The body of acl is null");
        let text = body_of(self.request).map_err(|_| nothing())?;
        let acl: AclInfo = body::decode(text)?;
        if acl.policies.is_empty() {
            return Err(nothing());
        }
        let given = [Some(&*acl.subject), header.subject];
        let subject = given
            .into_iter()
            .flatten()
            .find(|subject| !subject.is_empty())
            .ok_or_else(unexpected)?;
        self.accounts.put_acl(subject, acl.policies.clone())?;
        Ok(ok())
    }

    fn delete_acl(&self) -> Reply {
        let header: DeleteAclRequest<'_> = self.request.header()?;
        self.accounts
            .delete_acl(header.subject, header.policy_type, header.resource)?;
        Ok(ok())
    }

    fn acl(&self) -> Reply {
        let header: GetAclRequest<'_> = self.request.header()?;
        match self.accounts.acl(header.subject)? {
            Some(acl) => Ok(ok_body(encoded(&acl)?)),
            None => Ok(ok()),
        }
    }

    fn acls(&self) -> Reply {
        let header: ListAclRequest<'_> = self.request.header()?;
        let acls = self
            .accounts
            .acls(header.subject_filter, header.resource_filter);
        list(&acls)
    }

    /// The name in the header wins over that of the body.
    fn user_of_body(&self, username: Option<&str>) -> Result<UserInfo, Fault> {
        let username = named(username.filter(|name| !name.is_empty()))?;
        let user: UserInfo = body::decode(body_of(self.request)?)?;
        Ok(UserInfo {
            username: username.to_owned(),
            ..user
        })
    }

    /// Whether the sender is a user that is no super user: such a one neither makes nor changes super users. Without authentication
    /// nobody is bound who names no user. Java: `isNotSuperUserLogin`.
    fn is_bound(&self) -> Result<bool, Fault> {
        if let Some(caller) = self.caller {
            return Ok(!caller.is_super());
        }
        match acl::access_key(self.request).filter(|name| !name.is_empty()) {
            None => Ok(false),
            Some(name) => match self.accounts.find(name) {
                Some(account) => Ok(!account.is_super()),
                None => Err(Fault::system_error(format!("User:{name} is not found"))),
            },
        }
    }

    fn is_super_now(&self, name: &str) -> bool {
        self.accounts.find(name).is_some_and(|one| one.is_super())
    }

    /// Differs from Java: secrets are told to super users alone, and only if it is certain that it is one who asks.
    fn shown(&self, user: UserInfo) -> UserInfo {
        let password = user
            .password
            .filter(|_| self.caller.is_some_and(Account::is_super));
        UserInfo { password, ..user }
    }
}

const ONLY_SUPER: &str = "The super user can only be update by super user";

fn named(username: Option<&str>) -> Result<&str, Fault> {
    username.ok_or_else(|| Fault::new(ResponseCode::INVALID_PARAMETER, "The username is blank"))
}

/// No body at all where there is nothing.
fn list<T: Serialize>(items: &[T]) -> Reply {
    if items.is_empty() {
        return Ok(ok());
    }
    Ok(ok_body(encoded(&items)?))
}
