//! Users, and what each may do. Every broker keeps its own.

use rocketry_protocol::{
    RemotingCommand, Request,
    body::{
        self,
        access::{AclInfo, UserInfo},
    },
    header::{
        CreateAclRequest, CreateUserRequest, DeleteAclRequest, DeleteUserRequest, GetAclRequest,
        GetUserRequest, ListAclRequest, ListUserRequest, UpdateAclRequest, UpdateUserRequest,
    },
};
use rocketry_remoting::Deadline;
use serde::{Serialize, de::DeserializeOwned};

use super::{Admin, Brokers, ask, unreadable};
use crate::error::{Error, ErrorKind};

impl Admin {
    /// The users of the first chosen master that has some, sorted by name; with `filter`, those that have it in their name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no master is chosen, [`ErrorKind::Refused`] for who may not see them, and what asking a broker can
    /// fail with.
    ///
    /// Java: `mqadmin listUser`.
    pub async fn users(
        &self,
        filter: Option<&str>,
        brokers: &Brokers,
    ) -> Result<Vec<UserInfo>, Error> {
        let request = ListUserRequest { filter };
        let found: Option<Vec<UserInfo>> = self
            .first_found("list the users", &request, brokers)
            .await?;
        let mut users = found.unwrap_or_default();
        users.sort_by(|a, b| a.username.cmp(&b.username));
        Ok(users)
    }

    /// One user, of the first chosen master that has it; `None` when none has.
    ///
    /// # Errors
    /// As [`Admin::users`].
    ///
    /// Java: `mqadmin getUser`.
    pub async fn user(&self, name: &str, brokers: &Brokers) -> Result<Option<UserInfo>, Error> {
        let request = GetUserRequest {
            username: Some(name),
        };
        self.first_found(&format!("find user {name:?}"), &request, brokers)
            .await
    }

    /// Creates a user on the chosen masters, and returns their addresses. Without type and status it is `Normal` and `enable`.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when there is one of this name or the caller may not, and what asking a broker can fail with; masters
    /// before the one that failed have the user by then.
    ///
    /// Java: `mqadmin createUser`.
    pub async fn create_user(
        &self,
        user: &UserInfo,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let name = &*user.username;
        let request = CreateUserRequest {
            username: Some(name),
        };
        let action = format!("create user {name:?}");
        self.tell(&action, &request, Some(user), brokers).await
    }

    /// Changes a user on the chosen masters; what is `None` stays.
    ///
    /// # Errors
    /// As [`Admin::create_user`]; [`ErrorKind::Refused`] when there is no such user.
    ///
    /// Java: `mqadmin updateUser`.
    pub async fn update_user(
        &self,
        user: &UserInfo,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let name = &*user.username;
        let request = UpdateUserRequest {
            username: Some(name),
        };
        let action = format!("change user {name:?}");
        self.tell(&action, &request, Some(user), brokers).await
    }

    /// Deletes a user on the chosen masters, with all that it may do. One that does not exist is no error.
    ///
    /// # Errors
    /// As [`Admin::create_user`].
    ///
    /// Java: `mqadmin deleteUser`.
    pub async fn delete_user(&self, name: &str, brokers: &Brokers) -> Result<Vec<String>, Error> {
        let request = DeleteUserRequest {
            username: Some(name),
        };
        let action = format!("delete user {name:?}");
        self.tell(&action, &request, None::<&()>, brokers).await
    }

    /// What users may do, of the first chosen master that has such rules. `subject` (`User:name`) and `resource` need only be parts.
    ///
    /// # Errors
    /// As [`Admin::users`].
    ///
    /// Java: `mqadmin listAcl`.
    pub async fn acls(
        &self,
        subject: Option<&str>,
        resource: Option<&str>,
        brokers: &Brokers,
    ) -> Result<Vec<AclInfo>, Error> {
        let request = ListAclRequest {
            subject_filter: subject,
            resource_filter: resource,
        };
        let found: Option<Vec<AclInfo>> = self
            .first_found("list the rules", &request, brokers)
            .await?;
        let mut acls = found.unwrap_or_default();
        acls.sort_by(|a, b| a.subject.cmp(&b.subject));
        Ok(acls)
    }

    /// What a subject (`User:name`) may do; `None` when nothing is said about it.
    ///
    /// # Errors
    /// As [`Admin::users`]; [`ErrorKind::Refused`] when there is no such user.
    ///
    /// Java: `mqadmin getAcl`.
    pub async fn acl(&self, subject: &str, brokers: &Brokers) -> Result<Option<AclInfo>, Error> {
        let request = GetAclRequest {
            subject: Some(subject),
        };
        self.first_found(&format!("find the rules of {subject}"), &request, brokers)
            .await
    }

    /// Adds rules on the chosen masters, in place of those that the subject has on the same resources; returns the masters' addresses.
    ///
    /// # Errors
    /// As [`Admin::create_user`]; [`ErrorKind::Refused`] for rules that cannot be, or a user that does not exist.
    ///
    /// Java: `mqadmin createAcl`.
    pub async fn create_acl(&self, acl: &AclInfo, brokers: &Brokers) -> Result<Vec<String>, Error> {
        let request = CreateAclRequest {
            subject: Some(&acl.subject),
        };
        let action = format!("create rules of {}", acl.subject);
        self.tell(&action, &request, Some(acl), brokers).await
    }

    /// As [`Admin::create_acl`]: brokers do the same for both.
    ///
    /// # Errors
    /// As [`Admin::create_acl`].
    ///
    /// Java: `mqadmin updateAcl`.
    pub async fn update_acl(&self, acl: &AclInfo, brokers: &Brokers) -> Result<Vec<String>, Error> {
        let request = UpdateAclRequest {
            subject: Some(&acl.subject),
        };
        let action = format!("change rules of {}", acl.subject);
        self.tell(&action, &request, Some(acl), brokers).await
    }

    /// Removes the rules that a subject (`User:name`) has on one resource, or all of them without one, on the chosen masters.
    ///
    /// # Errors
    /// As [`Admin::create_user`]; [`ErrorKind::InvalidArgument`] for a resource that Java's brokers would not read, since they remove
    /// all rules then; [`ErrorKind::Refused`] when there are no rules.
    ///
    /// Java: `mqadmin deleteAcl`.
    pub async fn delete_acl(
        &self,
        subject: &str,
        resource: Option<&str>,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let action = format!("delete rules of {subject}");
        if let Some(resource) = resource.filter(|resource| !is_resource(resource)) {
            let reason = format!(
                "{resource:?} is no resource: write Topic:NAME, Group:NAME, Cluster:NAME, with * for all or at the end, or *"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, action, reason));
        }
        let request = DeleteAclRequest {
            subject: Some(subject),
            policy_type: None,
            resource,
        };
        self.tell(&action, &request, None::<&()>, brokers).await
    }

    /// The first answer of a master that has a body.
    async fn first_found<R: Request, T: DeserializeOwned>(
        &self,
        action: &str,
        request: &R,
        brokers: &Brokers,
    ) -> Result<Option<T>, Error> {
        let deadline = self.deadline();
        for (broker, address) in self.masters(action, brokers, deadline).await? {
            let reply = self
                .ask_broker(action, &broker, &address, request, deadline)
                .await?;
            if !reply.body.is_empty() {
                return body::decode(&reply.body)
                    .map(Some)
                    .map_err(|error| unreadable(action, &error));
            }
        }
        Ok(None)
    }

    /// Sends a change to all masters, one after the other.
    async fn tell<R: Request>(
        &self,
        action: &str,
        request: &R,
        content: Option<&impl Serialize>,
        brokers: &Brokers,
    ) -> Result<Vec<String>, Error> {
        let mut command = RemotingCommand::request(request);
        if let Some(content) = content {
            let text = body::encode(content).map_err(|error| {
                Error::new(
                    ErrorKind::InvalidArgument,
                    action.to_owned(),
                    error.to_string(),
                )
            })?;
            command = command.with_body(text);
        }
        let deadline: Deadline = self.deadline();
        let mut took = Vec::new();
        for (broker, address) in self.masters(action, brokers, deadline).await? {
            ask(
                self.core(),
                action,
                (&broker, &address),
                command.clone(),
                deadline,
            )
            .await?;
            took.push(address);
        }
        Ok(took)
    }
}

/// Java: `Resource.of`.
fn is_resource(text: &str) -> bool {
    const KINDS: [&str; 4] = ["Cluster", "Namespace", "Topic", "Group"];
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(kind, _)| KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind)))
}
