//! Users, what each may do, and the requests that change both. Remarks are Java's.
//!
//! Java: `AuthenticationMetadataManagerImpl`, `AuthorizationMetadataManagerImpl`, `Acl`.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use rocketry_protocol::{
    RemotingCommand,
    acl::SigningKey,
    body::access::{AclInfo, PolicyInfo, UserInfo},
};

use super::{
    file::{self, Kept, subject_of, subject_user},
    needs::Need,
    refused,
    rules::{self, Decision, Resource, Rules},
};
use crate::fault::Fault;

/// Most users, and most rules of one and of all of them: the file is written whole with every change.
pub(crate) const MAX_USERS: usize = 10_000;
const MAX_RULES_OF_USER: usize = 1000;
const MAX_RULES: usize = 100_000;

/// Longest name and secret, in bytes.
const MAX_NAME_BYTES: usize = 255;
const MAX_SECRET_BYTES: usize = 1024;

const SUPER: &str = "Super";
const NORMAL: &str = "Normal";
const ENABLE: &str = "enable";
const DISABLE: &str = "disable";

/// A user, ready for requests.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    key: SigningKey,
    is_super: bool,
    is_enabled: bool,
    rules: Rules,
}

impl Account {
    fn of(user: &UserInfo, policies: &[PolicyInfo]) -> Self {
        Self {
            name: user.username.clone(),
            key: SigningKey::new(user.password.as_deref().unwrap_or_default()),
            is_super: is_super(user),
            is_enabled: user.user_status.as_deref() != Some(DISABLE),
            rules: Rules::of(&acl(&user.username, policies)),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn is_super(&self) -> bool {
        self.is_super
    }

    pub(crate) const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Whether the request was signed with the user's secret.
    pub(crate) fn signed(&self, request: &RemotingCommand) -> bool {
        self.key.verify(request)
    }

    pub(super) fn decide(&self, need: Need<'_>, from: IpAddr) -> Decision {
        self.rules.decide(need.kind, need.name, need.actions, from)
    }
}

/// All users.
#[derive(Debug)]
pub(crate) struct Accounts {
    file: PathBuf,
    kept: Mutex<Kept>,
    ready: RwLock<HashMap<String, Arc<Account>>>,
}

impl Accounts {
    /// Reads the file of a data directory.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let file = file::path(data_dir);
        let kept = file::read(&file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        let ready = kept
            .users
            .iter()
            .map(|(name, user)| (name.clone(), Arc::new(ready(&kept, name, user))))
            .collect();
        Ok(Self {
            file,
            kept: Mutex::new(kept),
            ready: RwLock::new(ready),
        })
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.ready.read().get(name).cloned()
    }

    /// Whether somebody may manage users.
    pub(super) fn has_super_user(&self) -> bool {
        let ready = self.ready.read();
        ready.values().any(|one| one.is_super && one.is_enabled)
    }

    /// Java: `createUser`.
    pub(crate) fn create_user(&self, user: UserInfo) -> Result<(), Fault> {
        check_user(&user.username, user.password.as_deref()).map_err(refused)?;
        let user = UserInfo {
            user_type: Some(user_type(&user).unwrap_or(NORMAL).to_owned()),
            user_status: Some(user_status(&user).unwrap_or(ENABLE).to_owned()),
            ..user
        };
        let name = user.username.clone();
        self.change(&name, |kept| {
            if kept.users.contains_key(&user.username) {
                return Err(refused("The user is existed"));
            }
            if kept.users.len() >= MAX_USERS {
                return Err(Fault::system_error(format!(
                    "there are {MAX_USERS} users already, the most that are kept"
                )));
            }
            kept.users.insert(user.username.clone(), user);
            Ok(())
        })
    }

    /// What is not given stays. Java: `updateUser`.
    pub(crate) fn update_user(&self, change: UserInfo) -> Result<(), Fault> {
        let name = change.username.clone();
        self.change(&name, |kept| {
            let Some(user) = kept.users.get_mut(&change.username) else {
                return Err(refused("The user is not exist"));
            };
            if let Some(kind) = user_type(&change) {
                user.user_type = Some(kind.to_owned());
            }
            if let Some(status) = user_status(&change) {
                user.user_status = Some(status.to_owned());
            }
            let secret = change.password.filter(|secret| !secret.trim().is_empty());
            if let Some(secret) = secret {
                check_user(&name, Some(&secret)).map_err(refused)?;
                user.password = Some(secret);
            }
            Ok(())
        })
    }

    /// With all that the user may do; no error when there is none. Java: `deleteUser`.
    pub(crate) fn delete_user(&self, name: &str) -> Result<(), Fault> {
        self.change(name, |kept| {
            kept.users.remove(name);
            kept.policies.remove(name);
            Ok(())
        })
    }

    pub(crate) fn user(&self, name: &str) -> Option<UserInfo> {
        self.kept.lock().users.get(name).cloned()
    }

    /// Sorted by name; with a filter, those whose name has it as a part.
    pub(crate) fn users(&self, filter: Option<&str>) -> Vec<UserInfo> {
        let kept = self.kept.lock();
        let all = kept.users.values();
        all.filter(|user| has_part(&user.username, filter))
            .cloned()
            .collect()
    }

    /// Adds rules, in place of those on the same resource. Java: `createAcl` and `updateAcl`, which do the same.
    pub(crate) fn put_acl(&self, subject: &str, policies: Vec<PolicyInfo>) -> Result<(), Fault> {
        let policies = rules::checked(policies).map_err(refused)?;
        let name = subject_user(subject).ok_or_else(unexpected)?;
        self.change(name, |kept| {
            if !kept.users.contains_key(name) {
                return Err(refused(format!(
                    "The subject of {} is not exist.",
                    subject_of(name)
                )));
            }
            match kept.policies.get_mut(name) {
                Some(old) => merge(old, policies),
                None => {
                    kept.policies.insert(name.to_owned(), policies);
                }
            }
            let of_all = kept.policies.values().map(|policies| count(policies));
            let all = of_all.sum::<usize>();
            let of_user = kept.policies.get(name).map_or(0, |policies| count(policies));
            if of_user > MAX_RULES_OF_USER || all > MAX_RULES {
                return Err(Fault::system_error(format!(
                    "at most {MAX_RULES_OF_USER} rules of a user are kept, and {MAX_RULES} of all users"
                )));
            }
            Ok(())
        })
    }

    /// Removes the rules on one resource, or all. Java: `deleteAcl`. Differs from Java: a resource that cannot be read does not remove
    /// all of them.
    pub(crate) fn delete_acl(
        &self,
        subject: Option<&str>,
        policy_type: Option<&str>,
        resource: Option<&str>,
    ) -> Result<(), Fault> {
        let name = subject
            .and_then(subject_user)
            .ok_or_else(|| refused("The subject is null."))?;
        let resource = match resource.filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                let resource = Resource::parse(text);
                Some(resource.ok_or_else(|| refused("The resource is null."))?)
            }
            None => None,
        };
        self.change(name, |kept| {
            if !kept.users.contains_key(name) {
                return Err(refused("The subject is not exist."));
            }
            let Some(policies) = kept.policies.get_mut(name) else {
                return Err(refused("The acl is not exist."));
            };
            match resource {
                Some(resource) => {
                    let kind = rules::policy_type(policy_type);
                    remove(policies, kind, &resource.to_string());
                }
                None => policies.clear(),
            }
            if policies.is_empty() {
                kept.policies.remove(name);
            }
            Ok(())
        })
    }

    /// The rules of a user; `None` when there are none. Java: `getAcl`.
    pub(crate) fn acl(&self, subject: Option<&str>) -> Result<Option<AclInfo>, Fault> {
        let name = subject
            .and_then(subject_user)
            .ok_or_else(|| refused("The subject is null."))?;
        let kept = self.kept.lock();
        if !kept.users.contains_key(name) {
            return Err(refused("The subject is not exist."));
        }
        Ok(kept.policies.get(name).map(|policies| acl(name, policies)))
    }

    /// All rules on resources that have `resource` as a part, of users that have `subject` as one. Java: `listAcl`.
    pub(crate) fn acls(&self, subject: Option<&str>, resource: Option<&str>) -> Vec<AclInfo> {
        let kept = self.kept.lock();
        let all = kept.policies.iter().filter_map(|(name, policies)| {
            let mut acl = acl(name, policies);
            if !has_part(&acl.subject, subject) {
                return None;
            }
            for policy in &mut acl.policies {
                let entries = &mut policy.entries;
                entries.retain(|entry| has_part(&entry.resource, resource));
            }
            acl.policies.retain(|policy| !policy.entries.is_empty());
            (!acl.policies.is_empty()).then_some(acl)
        });
        all.collect()
    }

    /// Makes a change, which counts once it is on disk.
    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Kept) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut kept = self.kept.lock();
        let mut next = kept.clone();
        change(&mut next)?;
        if next == *kept {
            return Ok(());
        }
        file::write(&self.file, &next).map_err(|error| {
            tracing::error!(%error, file = %self.file.display(), "users cannot be written");
            Fault::system_error(format!(
                "{} cannot be written: {error}",
                self.file.display()
            ))
        })?;
        *kept = next;
        let mut all = self.ready.write();
        match kept.users.get(name) {
            Some(user) => all.insert(name.to_owned(), Arc::new(ready(&kept, name, user))),
            None => all.remove(name),
        };
        Ok(())
    }
}

fn ready(kept: &Kept, name: &str, user: &UserInfo) -> Account {
    let policies = kept.policies.get(name).map_or(&[][..], Vec::as_slice);
    Account::of(user, policies)
}

fn acl(name: &str, policies: &[PolicyInfo]) -> AclInfo {
    AclInfo {
        policies: policies.to_vec(),
        subject: subject_of(name),
    }
}

/// What is wrong with a user that is to be made. Java: `AuthenticationMetadataManagerImpl.validate`.
pub(super) fn check_user(name: &str, secret: Option<&str>) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("username can not be blank".to_owned());
    }
    let secret = secret.unwrap_or_default();
    if secret.trim().is_empty() {
        return Err("password can not be blank".to_owned());
    }
    if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!(
            "a username has at most {MAX_NAME_BYTES} bytes, and no control characters"
        ));
    }
    if secret.len() > MAX_SECRET_BYTES {
        return Err(format!("a password has at most {MAX_SECRET_BYTES} bytes"));
    }
    Ok(())
}

pub(crate) fn is_super(user: &UserInfo) -> bool {
    user_type(user) == Some(SUPER)
}

fn user_type(user: &UserInfo) -> Option<&'static str> {
    known(user.user_type.as_deref(), [SUPER, NORMAL])
}

fn user_status(user: &UserInfo) -> Option<&'static str> {
    known(user.user_status.as_deref(), [ENABLE, DISABLE])
}

/// Other words than these are ignored, as in Java.
fn known(given: Option<&str>, words: [&'static str; 2]) -> Option<&'static str> {
    let given = given?;
    words
        .into_iter()
        .find(|word| word.eq_ignore_ascii_case(given))
}

fn has_part(text: &str, part: Option<&str>) -> bool {
    part.is_none_or(|part| part.trim().is_empty() || text.contains(part))
}

fn count(policies: &[PolicyInfo]) -> usize {
    policies.iter().map(|policy| policy.entries.len()).sum()
}

/// Java: `Acl.updatePolicy`, `Policy.updateEntry`.
fn merge(old: &mut Vec<PolicyInfo>, new: Vec<PolicyInfo>) {
    for policy in new {
        let same = old
            .iter_mut()
            .find(|known| known.policy_type == policy.policy_type);
        let Some(known) = same else {
            old.push(policy);
            continue;
        };
        for entry in policy.entries {
            let same = known
                .entries
                .iter_mut()
                .find(|known| known.resource == entry.resource);
            match same {
                Some(known) => *known = entry,
                None => known.entries.push(entry),
            }
        }
    }
}

/// Java: `Acl.deletePolicy`, which takes the first rule on the resource.
fn remove(policies: &mut Vec<PolicyInfo>, kind: &str, resource: &str) {
    let found = policies
        .iter_mut()
        .find(|policy| policy.policy_type.as_deref() == Some(kind));
    let Some(policy) = found else {
        return;
    };
    let entries = &mut policy.entries;
    if let Some(place) = entries.iter().position(|entry| entry.resource == resource) {
        entries.remove(place);
    }
    policies.retain(|policy| !policy.entries.is_empty());
}

/// Java's answer to what it did not foresee.
pub(crate) fn unexpected() -> Fault {
    Fault::system_error("An system error occurred, please try again later.")
}

#[cfg(test)]
mod tests;
