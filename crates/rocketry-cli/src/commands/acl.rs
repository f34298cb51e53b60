//! `rocketry acl`: what users may do.

use rocketry::{AclInfo, Admin, Brokers, PolicyEntryInfo, PolicyInfo};
use serde::Serialize;

use super::user::done;
use crate::{
    args::{Acl, Global, Report, ReportFormat, RuleArgs},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Column, Output},
};

/// Runs one of the rule commands.
///
/// # Errors
/// What the brokers answered, or that they did not.
pub(crate) async fn run(command: Acl, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        Acl::List {
            user,
            resource,
            place,
            format,
        } => {
            let (user, resource) = (user.as_deref(), resource.as_deref());
            let acls = admin.acls(user, resource, &place.brokers()).await?;
            print(acls, format, &mut output)
        }
        Acl::Get {
            user,
            place,
            format,
        } => {
            let acl = admin.acl(&subject(&user), &place.brokers()).await?;
            print(acl.into_iter().collect(), format, &mut output)
        }
        Acl::Create {
            rule,
            place,
            format,
        } => {
            let acl = rules(&rule);
            let brokers = admin.create_acl(&acl, &place.brokers()).await?;
            done("created", &acl.subject, brokers, format, &mut output)
        }
        Acl::Update {
            rule,
            place,
            format,
        } => {
            let acl = rules(&rule);
            let brokers = admin.update_acl(&acl, &place.brokers()).await?;
            done("updated", &acl.subject, brokers, format, &mut output)
        }
        Acl::Delete {
            user,
            resource,
            yes,
            place,
            format,
        } => {
            let what = resource.as_deref().unwrap_or("everything");
            if !yes
                && output::confirm(&format!("Delete the rules of {user} on {what}?")) == Some(false)
            {
                return Err(Failure::new(format!(
                    "the rules of {user} were not deleted"
                )));
            }
            delete(
                &admin,
                &user,
                resource.as_deref(),
                &place.brokers(),
                format,
                &mut output,
            )
            .await
        }
        Acl::Copy { users, way, format } => {
            let (from, to) = (Brokers::Broker(way.from), Brokers::Broker(way.to));
            copy(&admin, &users, &from, &to, format, &mut output).await
        }
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

/// `User:alice` for `alice`; what says so itself stays.
fn subject(user: &str) -> String {
    const USER: &str = "User:";
    match user.get(..USER.len()) {
        Some(kind) if kind.eq_ignore_ascii_case(USER) => user.to_owned(),
        _ => format!("{USER}{user}"),
    }
}

fn rules(args: &RuleArgs) -> AclInfo {
    let decision = if args.deny { "Deny" } else { "Allow" };
    let entry = |resource: &String| PolicyEntryInfo {
        actions: args.actions.iter().map(|a| a.name().to_owned()).collect(),
        decision: Some(decision.to_owned()),
        resource: resource.clone(),
        source_ips: (!args.sources.is_empty()).then(|| args.sources.clone()),
    };
    let kind = if args.default { "Default" } else { "Custom" };
    AclInfo {
        policies: vec![PolicyInfo {
            entries: args.resources.iter().map(entry).collect(),
            policy_type: Some(kind.to_owned()),
        }],
        subject: subject(&args.user),
    }
}

fn print(acls: Vec<AclInfo>, format: Report, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Acls {
        acls: Vec<AclInfo>,
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Acls { acls });
    }
    let columns = [
        Column::Text("SUBJECT"),
        Column::Text("TYPE"),
        Column::Text("RESOURCE"),
        Column::Text("ACTIONS"),
        Column::Text("FROM"),
        Column::Text("DECISION"),
    ];
    let mut rows = Vec::new();
    for acl in &acls {
        for policy in &acl.policies {
            let kind = policy.policy_type.as_deref().unwrap_or("-");
            rows.extend(policy.entries.iter().map(|entry| {
                let sources = entry.source_ips.as_deref().unwrap_or_default();
                let from = if sources.is_empty() {
                    "anywhere".to_owned()
                } else {
                    sources.join(",")
                };
                vec![
                    acl.subject.clone(),
                    kind.to_owned(),
                    entry.resource.clone(),
                    entry.actions.join(","),
                    from,
                    entry.decision.clone().unwrap_or_else(|| "-".to_owned()),
                ]
            }));
        }
    }
    output.table(&columns, rows)
}

async fn delete(
    admin: &Admin,
    user: &str,
    resource: Option<&str>,
    brokers: &Brokers,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let subject = subject(user);
    if let Some(resource) = resource {
        // Brokers confirm the deletion of a rule that they do not have.
        let known = admin.acl(&subject, brokers).await?.unwrap_or_default();
        let mut entries = known.policies.iter().flat_map(|policy| &policy.entries);
        if !entries.any(|entry| entry.resource.eq_ignore_ascii_case(resource)) {
            return Err(Failure::new(format!("{subject} has no rule on {resource}"))
                .hint(format!("see those there are: rocketry acl get {user}")));
        }
    }
    let took = admin.delete_acl(&subject, resource, brokers).await?;
    done("deleted", &subject, took, format, output)
}

async fn copy(
    admin: &Admin,
    users: &[String],
    from: &Brokers,
    to: &Brokers,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let wanted: Vec<_> = users.iter().map(|user| subject(user)).collect();
    let mut acls = admin.acls(None, None, from).await?;
    if let Some(subject) = wanted
        .iter()
        .find(|subject| acls.iter().all(|acl| acl.subject != **subject))
    {
        return Err(Failure::new(format!("{subject} has no rules there")));
    }
    acls.retain(|acl| wanted.is_empty() || wanted.contains(&acl.subject));
    for acl in acls {
        let brokers = admin.create_acl(&acl, to).await?;
        done("copied", &acl.subject, brokers, format, output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_may_be_written_out() {
        assert_eq!(subject("alice"), "User:alice");
        assert_eq!(subject("user:alice"), "user:alice");
        assert_eq!(subject("名"), "User:名");
    }
}
