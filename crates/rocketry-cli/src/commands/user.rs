//! `rocketry user`: who may use brokers.

use rocketry::{Admin, Brokers, UserInfo};
use serde::Serialize;

use crate::{
    access::secret_of_file,
    args::{Global, Password, Report, ReportFormat, User, UserChange, UserStatus, UserType},
    commands::{CLOSE_WITHIN, connect},
    failure::Failure,
    output::{self, Column, Output},
};

/// Runs one of the user commands.
///
/// # Errors
/// What the brokers answered, or that they did not.
pub(crate) async fn run(command: User, global: &Global) -> Result<(), Failure> {
    let client = connect(global).await?;
    let admin = client.admin();
    let mut output = Output::stdout();
    match command {
        User::List {
            filter,
            show_password,
            place,
            format,
        } => {
            let users = admin.users(filter.as_deref(), &place.brokers()).await?;
            print(users, show_password, format, &mut output)
        }
        User::Get {
            user,
            show_password,
            place,
            format,
        } => {
            let found = admin.user(&user, &place.brokers()).await?;
            let found = found.ok_or_else(|| unknown(&user))?;
            print(vec![found], show_password, format, &mut output)
        }
        User::Create {
            user,
            password,
            kind,
            place,
            format,
        } => {
            create(
                &admin,
                user,
                password,
                kind,
                &place.brokers(),
                format,
                &mut output,
            )
            .await
        }
        User::Update {
            user,
            change,
            place,
            format,
        } => {
            let changed = changed(&user, change)?;
            let brokers = admin.update_user(&changed, &place.brokers()).await?;
            done("updated", &user, brokers, format, &mut output)
        }
        User::Delete {
            user,
            yes,
            place,
            format,
        } => {
            if !yes && output::confirm(&format!("Delete user {user}?")) == Some(false) {
                return Err(Failure::new(format!("user {user} was not deleted")));
            }
            let place = place.brokers();
            // Brokers confirm the deletion of a user that they do not have.
            if admin.user(&user, &place).await?.is_none() {
                return Err(unknown(&user));
            }
            let brokers = admin.delete_user(&user, &place).await?;
            done("deleted", &user, brokers, format, &mut output)
        }
        User::Copy { users, way, format } => {
            let (from, to) = (Brokers::Broker(way.from), Brokers::Broker(way.to));
            copy(&admin, &users, &from, &to, format, &mut output).await
        }
    }?;
    output.flush()?;
    client.shutdown(CLOSE_WITHIN).await;
    Ok(())
}

fn unknown(user: &str) -> Failure {
    Failure::new(format!("there is no user {user}")).hint("see who there is: rocketry user list")
}

fn print(
    mut users: Vec<UserInfo>,
    show_password: bool,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Users {
        users: Vec<UserInfo>,
    }
    if !show_password {
        for user in &mut users {
            user.password = None;
        }
    }
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Users { users });
    }
    let mut columns = vec![
        Column::Text("USER"),
        Column::Text("TYPE"),
        Column::Text("STATUS"),
    ];
    if show_password {
        columns.push(Column::Text("PASSWORD"));
    }
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = users.into_iter().map(|user| {
        let mut row = vec![
            user.username,
            shown(user.user_type),
            shown(user.user_status),
        ];
        if show_password {
            row.push(shown(user.password));
        }
        row
    });
    output.table(&columns, rows.collect())
}

async fn create(
    admin: &Admin,
    user: String,
    password: Password,
    kind: UserType,
    brokers: &Brokers,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Made<'a> {
        created: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<String>,
        brokers: Vec<String>,
    }
    let given = given(password.password, password.password_file.as_deref())?;
    let made_up = if given.is_none() {
        Some(random_password()?)
    } else {
        None
    };
    let password = given.or_else(|| made_up.clone());
    let info = UserInfo {
        password,
        user_status: None,
        user_type: Some(type_name(kind).to_owned()),
        username: user,
    };
    let brokers = admin.create_user(&info, brokers).await?;
    if format.output == ReportFormat::Json {
        return output.pretty_json(&Made {
            created: &info.username,
            password: made_up,
            brokers,
        });
    }
    output.line(format_args!(
        "created {} on {}",
        info.username,
        brokers.join(", ")
    ))?;
    if let Some(password) = made_up {
        output.line(format_args!("password {password}"))?;
    }
    Ok(())
}

fn given(
    password: Option<String>,
    file: Option<&std::path::Path>,
) -> Result<Option<String>, Failure> {
    match file {
        Some(file) => secret_of_file(file).map(Some),
        None => Ok(password),
    }
}

/// 32 hexadecimal digits.
fn random_password() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("no random password: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn changed(user: &str, change: UserChange) -> Result<UserInfo, Failure> {
    let status = change.status.map(|status| match status {
        UserStatus::Enable => "enable".to_owned(),
        UserStatus::Disable => "disable".to_owned(),
    });
    Ok(UserInfo {
        password: given(change.password, change.password_file.as_deref())?,
        user_status: status,
        user_type: change.kind.map(|kind| type_name(kind).to_owned()),
        username: user.to_owned(),
    })
}

const fn type_name(kind: UserType) -> &'static str {
    match kind {
        UserType::Super => "Super",
        UserType::Normal => "Normal",
    }
}

async fn copy(
    admin: &Admin,
    names: &[String],
    from: &Brokers,
    to: &Brokers,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut users = admin.users(None, from).await?;
    if let Some(name) = names
        .iter()
        .find(|name| users.iter().all(|user| user.username != **name))
    {
        return Err(unknown(name));
    }
    users.retain(|user| names.is_empty() || names.contains(&user.username));
    for user in users {
        if user.password.is_none() {
            return Err(Failure::new(format!(
                "the broker does not tell the password of {}",
                user.username
            ))
            .hint("passwords are told to super users: give --access-key and --secret-key of one"));
        }
        let brokers = match admin.user(&user.username, to).await? {
            Some(_) => admin.update_user(&user, to).await?,
            None => admin.create_user(&user, to).await?,
        };
        done("copied", &user.username, brokers, format, output)?;
    }
    Ok(())
}

/// What was done to whom, and where.
pub(super) fn done(
    what: &'static str,
    user: &str,
    brokers: Vec<String>,
    format: Report,
    output: &mut Output,
) -> Result<(), Failure> {
    if format.output == ReportFormat::Json {
        return output.pretty_json(&serde_json::json!({ what: user, "brokers": brokers }));
    }
    output.line(format_args!("{what} {user} on {}", brokers.join(", ")))
}
