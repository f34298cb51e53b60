//! `rocketry user` and `rocketry acl`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValue};

use super::{Report, Where};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List users
    #[command(after_help = "\
Examples:
  rocketry user list
  rocketry user list --filter shop
  rocketry user list --show-password --output json      everything, to keep or to move")]
    List {
        /// Only users with this in their name
        #[arg(long, short, value_name = "TEXT")]
        filter: Option<String>,
        /// Also their passwords, which brokers tell to super users
        #[arg(long)]
        show_password: bool,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Show one user
    #[command(after_help = "\
Examples:
  rocketry user get alice
  rocketry user get alice --show-password --output json")]
    Get {
        /// The user
        user: String,
        /// Also the password, which brokers tell to super users
        #[arg(long)]
        show_password: bool,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Create a user, who may do nothing until `rocketry acl create` says so
    #[command(after_help = "\
The password is what clients sign their requests with (--secret-key). Without one, a random
one is made and printed.

Examples:
  rocketry user create alice
  rocketry user create alice --password-file alice.secret
  rocketry user create ops --type super                  may do everything")]
    Create {
        /// The user
        user: String,
        #[command(flatten)]
        password: Password,
        /// Who may do everything, or only what rules allow
        #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE", default_value_t = UserType::Normal)]
        kind: UserType,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Change a user; what is not given stays
    #[command(after_help = "\
Examples:
  rocketry user update alice --password-file new.secret
  rocketry user update alice --status disable            nothing more, at once")]
    Update {
        /// The user
        user: String,
        #[command(flatten)]
        change: UserChange,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Delete a user, with all that it may do
    #[command(after_help = "Examples:\n  rocketry user delete alice --yes")]
    Delete {
        /// The user
        user: String,
        /// Do not ask (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Copy users from one broker to another, where those that exist are changed
    #[command(after_help = "\
Passwords go along; that takes a super user on both brokers.

Examples:
  rocketry user copy --from broker-a --to broker-b
  rocketry user copy alice bob --from 10.0.0.5:10911 --to 10.0.0.6:10911")]
    Copy {
        /// The users [default: all]
        users: Vec<String>,
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        format: Report,
    },
}

/// What to do with the rules on what users may do.
#[derive(Debug, Subcommand)]
pub(crate) enum Acl {
    /// List rules
    #[command(after_help = "\
Examples:
  rocketry acl list
  rocketry acl list --resource Topic:Orders
  rocketry acl list --output json")]
    List {
        /// Only of users with this in their name
        #[arg(long = "user", short, value_name = "TEXT")]
        user: Option<String>,
        /// Only on resources with this in their name
        #[arg(long, short, value_name = "TEXT")]
        resource: Option<String>,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Show the rules of a user
    #[command(after_help = "Examples:\n  rocketry acl get alice")]
    Get {
        /// The user
        user: String,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Add rules; those of the user on the same resources are replaced
    #[command(after_help = RULES)]
    Create {
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// As `create`, for who expects it under this name
    #[command(after_help = RULES)]
    Update {
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Remove the rules of a user: on one resource, or all
    #[command(after_help = "\
Examples:
  rocketry acl delete alice --resource Topic:Orders
  rocketry acl delete alice --yes")]
    Delete {
        /// The user
        user: String,
        /// Only on this resource, as `acl get` shows it [default: all]
        #[arg(long, short, value_name = "RESOURCE")]
        resource: Option<String>,
        /// Do not ask (it is asked on a terminal only)
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        format: Report,
    },
    /// Copy rules from one broker to another, whose users must exist
    #[command(after_help = "\
Examples:
  rocketry acl copy --from broker-a --to broker-b
  rocketry acl copy alice --from broker-a --to broker-b")]
    Copy {
        /// The users [default: all]
        users: Vec<String>,
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        format: Report,
    },
}

const RULES: &str = "\
Resources are Topic:NAME, Group:NAME and Cluster:NAME; NAME may end with * for all names that
begin so, and * alone is everything. To send takes Pub on the topic; to consume takes Sub on
the topic and on the group, and Get on the topic to ask for its offsets. `rocketry consume`
without --group, or with --from, reads as the group TOOLS_CONSUMER. Of several rules the one
that says most decides (a name before a beginning before all), and Deny before Allow.

A rule replaces the one that the user has on the same resource: name all actions.

Examples:
  rocketry acl create alice --resource Topic:Orders --actions Pub
  rocketry acl create bob --resource Topic:Orders --actions Sub,Get
  rocketry acl create bob --resource Group:billing,Group:TOOLS_CONSUMER --actions Sub
  rocketry acl create alice --resource 'Topic:shop-*' --actions Pub,Sub,Get --source 10.0.0.0/8
  rocketry acl create alice --resource Topic:shop-secret --actions All --deny";

/// The password of a user.
#[derive(Debug, Clone, Args)]
pub(crate) struct Password {
    /// File with the password [default: a random one, which is printed]
    #[arg(long, value_name = "FILE", group = "password_of_user")]
    pub(crate) password_file: Option<PathBuf>,
    /// The password; better in a file, since others on this machine can read command lines
    #[arg(long, value_name = "PASSWORD", group = "password_of_user")]
    pub(crate) password: Option<String>,
}

/// What to change of a user.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct UserChange {
    /// File with the new password
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// The new password; better in a file, since others on this machine can read command lines
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Who may do everything, or only what rules allow
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<UserType>,
    /// Whether the user gets in at all
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS")]
    pub(crate) status: Option<UserStatus>,
}

/// From where to where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Way {
    /// Broker to copy from, by name or address
    #[arg(long, value_name = "BROKER")]
    pub(crate) from: String,
    /// Broker to copy to, by name or address
    #[arg(long, value_name = "BROKER")]
    pub(crate) to: String,
}

/// Rules that are to be made.
#[derive(Debug, Clone, Args)]
pub(crate) struct RuleArgs {
    /// The user
    pub(crate) user: String,
    /// What the rule is on; may be repeated, or separated by commas
    #[arg(
        long = "resource",
        short,
        value_name = "RESOURCE",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) resources: Vec<String>,
    /// What it is about; may be repeated, or separated by commas
    #[arg(
        long,
        short,
        value_enum,
        ignore_case = true,
        value_name = "ACTIONS",
        value_delimiter = ',',
        required = true
    )]
    pub(crate) actions: Vec<Action>,
    /// Only from this address or range (10.0.0.0/8); may be repeated, or separated by commas [default: from everywhere]
    #[arg(long = "source", value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) sources: Vec<String>,
    /// Forbid it instead of allowing it
    #[arg(long)]
    pub(crate) deny: bool,
    /// Let the rule decide only where no other one of the user's says anything
    #[arg(long)]
    pub(crate) default: bool,
}

/// Java: `UserType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserType {
    /// May do everything
    Super,
    /// May do what rules allow
    Normal,
}

/// Java: `UserStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserStatus {
    /// Gets in
    Enable,
    /// Does not
    Disable,
}

/// Java: `Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    All,
    Pub,
    Sub,
    Create,
    Update,
    Delete,
    Get,
    List,
}

impl Action {
    /// As Java writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Pub => "Pub",
            Self::Sub => "Sub",
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Get => "Get",
            Self::List => "List",
        }
    }
}

/// With Java's names, which are in capitals.
impl ValueEnum for Action {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Pub,
            Self::Sub,
            Self::Create,
            Self::Update,
            Self::Delete,
            Self::Get,
            Self::List,
            Self::All,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}
