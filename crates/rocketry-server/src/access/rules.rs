//! What a user may do: rules on resources, and which of several rules decides.
//!
//! Java: `Resource`, `PolicyEntry`, `AclAuthorizationHandler`, `Environment`.

use std::{cmp::Reverse, fmt, net::IpAddr};

use rocketry_protocol::body::access::{AclInfo, PolicyEntryInfo, PolicyInfo};

/// Kinds of resources, with Java's names. Java: `ResourceType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name that Java has and nothing is of.
    Unknown,
    Any,
    Cluster,
    Namespace,
    Topic,
    Group,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Any,
        Self::Cluster,
        Self::Namespace,
        Self::Topic,
        Self::Group,
    ];

    /// As Java writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Any => "Any",
            Self::Cluster => "Cluster",
            Self::Namespace => "Namespace",
            Self::Topic => "Topic",
            Self::Group => "Group",
        }
    }
}

/// What is done to a resource: a set of Java's actions. Java: `Action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Actions(u16);

impl Actions {
    const ALL: Self = Self(1 << 1);
    const ANY: Self = Self(1 << 2);
    pub(crate) const PUB: Self = Self(1 << 3);
    pub(crate) const SUB: Self = Self(1 << 4);
    pub(crate) const CREATE: Self = Self(1 << 5);
    pub(crate) const UPDATE: Self = Self(1 << 6);
    pub(crate) const DELETE: Self = Self(1 << 7);
    pub(crate) const GET: Self = Self(1 << 8);

    /// By their codes in Java.
    const NAMES: [&str; 10] = [
        "Unknown", "All", "Any", "Pub", "Sub", "Create", "Update", "Delete", "Get", "List",
    ];

    /// Either of both.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Which names of its kind a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    One(String),
    StartingWith(String),
}

/// What a rule is for. Java: `Resource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    kind: Kind,
    names: Names,
}

impl Resource {
    /// `Topic:name`, `Topic:prefix*`, `Topic:*`, likewise for groups and clusters, and `*`. Java: `Resource.of`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self {
                kind: Kind::Any,
                names: Names::All,
            });
        }
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(kind))?;
        let names = match name.split_once('*') {
            Some(("", "")) => Names::All,
            Some((prefix, _)) if name.ends_with('*') => Names::StartingWith(prefix.to_owned()),
            _ => Names::One(name.to_owned()),
        };
        Some(Self { kind, names })
    }

    fn covers(&self, kind: Kind, name: &str) -> bool {
        if self.kind == Kind::Any {
            return true;
        }
        self.kind == kind
            && match &self.names {
                Names::All => true,
                Names::One(one) => one == name,
                Names::StartingWith(prefix) => name.starts_with(prefix),
            }
    }
}

/// As Java writes it. Java: `Resource.getResourceKey`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Any {
            return f.write_str("*");
        }
        let kind = self.kind.name();
        match &self.names {
            Names::All => write!(f, "{kind}:*"),
            Names::One(name) => write!(f, "{kind}:{name}"),
            Names::StartingWith(prefix) => write!(f, "{kind}:{prefix}*"),
        }
    }
}

/// Addresses that a rule holds for: one, or those of a range `address/bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    address: u128,
    bits: u32,
    is_v4: bool,
}

impl Source {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let (address, width) = number(address.parse().ok()?);
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        Some(Self {
            address,
            bits,
            is_v4: width == V4_BITS,
        })
    }

    fn contains(&self, from: IpAddr) -> bool {
        let (from, width) = number(from);
        let differs = self.address ^ from;
        self.is_v4 == (width == V4_BITS)
            && differs.checked_shr(width - self.bits).unwrap_or_default() == 0
    }
}

const V4_BITS: u32 = 32;

/// The bits of an address and how many there are. A v4 address that arrived as v6 is one of v4.
fn number(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (v4.to_bits().into(), V4_BITS),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// One rule.
#[derive(Debug, Clone)]
struct Rule {
    resource: Resource,
    actions: Actions,
    /// Empty: every address.
    sources: Vec<Source>,
    allows: bool,
}

impl Rule {
    /// The more a rule says, the earlier it decides; of two that say the same, the one that denies.
    /// Java: `AclAuthorizationHandler.comparePolicyEntries`.
    fn order(&self) -> (bool, u8, Reverse<usize>, bool) {
        let (rank, length) = match &self.resource.names {
            Names::One(_) => (0, 0),
            Names::StartingWith(prefix) => (1, prefix.len()),
            Names::All => (2, 0),
        };
        let is_any = self.resource.kind == Kind::Any;
        (is_any, rank, Reverse(length), self.allows)
    }
}

/// What is decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    Denied,
    /// No rule says anything.
    NoRule,
}

/// The rules of one user, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    custom: Vec<Rule>,
    /// Asked where no custom one says anything.
    default: Vec<Rule>,
}

impl Rules {
    /// The rules of an [`AclInfo`] that [`checked`] has passed; what is not one is left out.
    pub(crate) fn of(acl: &AclInfo) -> Self {
        let mut rules = Self::default();
        for policy in &acl.policies {
            let known = policy.entries.iter().filter_map(rule);
            if is_default(policy) {
                rules.default.extend(known);
            } else {
                rules.custom.extend(known);
            }
        }
        rules
    }

    /// Whether any one of `actions` may be done to the resource from this address.
    pub(crate) fn decide(
        &self,
        kind: Kind,
        name: &str,
        actions: Actions,
        from: IpAddr,
    ) -> Decision {
        let wanted = actions.or(Actions::ALL);
        let first_of = |rules: &[Rule]| {
            rules
                .iter()
                .filter(|rule| {
                    rule.resource.covers(kind, name)
                        && rule.actions.meets(wanted)
                        && (rule.sources.is_empty()
                            || rule.sources.iter().any(|source| source.contains(from)))
                })
                .min_by_key(|rule| rule.order())
                .map(|rule| rule.allows)
        };
        match first_of(&self.custom).or_else(|| first_of(&self.default)) {
            Some(true) => Decision::Allowed,
            Some(false) => Decision::Denied,
            None => Decision::NoRule,
        }
    }
}

fn rule(entry: &PolicyEntryInfo) -> Option<Rule> {
    let sources = entry.source_ips.iter().flatten();
    Some(Rule {
        resource: Resource::parse(&entry.resource)?,
        actions: entry
            .actions
            .iter()
            .filter_map(|name| action(name))
            .fold(Actions(0), |all, (one, _)| all.or(one)),
        // A source that cannot be read must not make the rule one for everybody.
        sources: sources
            .map(|text| Source::parse(text))
            .collect::<Option<_>>()?,
        allows: decision(entry)? == ALLOW,
    })
}

fn action(name: &str) -> Option<(Actions, &'static str)> {
    let place = Actions::NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))?;
    Some((Actions(1 << place), Actions::NAMES.get(place)?))
}

fn decision(entry: &PolicyEntryInfo) -> Option<&'static str> {
    let given = entry.decision.as_deref()?;
    [ALLOW, DENY]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(given))
}

const ALLOW: &str = "Allow";
const DENY: &str = "Deny";
const CUSTOM: &str = "Custom";
const DEFAULT: &str = "Default";

/// Most source addresses of a rule, most actions (said twice they stay twice, as in Java), and most bytes of a resource.
const MAX_SOURCES: usize = 256;
const MAX_ACTIONS: usize = 64;
const MAX_RESOURCE_BYTES: usize = 512;

/// Whether the policy is the one that is asked last.
pub(crate) fn is_default(policy: &PolicyInfo) -> bool {
    policy
        .policy_type
        .as_deref()
        .is_some_and(|name| name.eq_ignore_ascii_case(DEFAULT))
}

/// The policy type that is meant: `Default`, or `Custom` for everything else, as in Java.
pub(crate) fn policy_type(given: Option<&str>) -> &'static str {
    match given {
        Some(name) if name.eq_ignore_ascii_case(DEFAULT) => DEFAULT,
        _ => CUSTOM,
    }
}

/// Policies as they are kept: in Java's way of writing, without what Java ignores. The error is the remark of the answer.
/// Java: `AclConverter.convertAcl`, `AuthorizationMetadataManagerImpl.validate`.
pub(crate) fn checked(policies: Vec<PolicyInfo>) -> Result<Vec<PolicyInfo>, &'static str> {
    let policies: Vec<PolicyInfo> = policies
        .into_iter()
        .filter(|policy| !policy.entries.is_empty())
        .collect();
    if policies.is_empty() {
        return Err("The policies is empty.");
    }
    let checked = policies.into_iter().map(|policy| {
        let kind = policy_type(policy.policy_type.as_deref());
        Ok(PolicyInfo {
            policy_type: Some(kind.to_owned()),
            entries: policy
                .entries
                .iter()
                .map(checked_entry)
                .collect::<Result<_, _>>()?,
        })
    });
    checked.collect()
}

fn checked_entry(entry: &PolicyEntryInfo) -> Result<PolicyEntryInfo, &'static str> {
    let resource = Resource::parse(&entry.resource).ok_or("The resource is null.")?;
    if entry.resource.len() > MAX_RESOURCE_BYTES {
        return Err("The resource is longer than 512 bytes.");
    }
    if entry.actions.len() > MAX_ACTIONS {
        return Err("A rule has at most 64 actions.");
    }
    let mut all = Actions(0);
    let mut actions: Vec<String> = Vec::new();
    for (one, name) in entry.actions.iter().filter_map(|name| action(name)) {
        actions.push(name.to_owned());
        all = all.or(one);
    }
    if actions.is_empty() {
        return Err("The actions is empty.");
    }
    if all.meets(Actions::ANY) {
        return Err("The actions can not be Any.");
    }
    let sources = entry.source_ips.as_deref().unwrap_or_default();
    if sources.len() > MAX_SOURCES {
        return Err("A rule has at most 256 source ips.");
    }
    for source in sources {
        if source.trim().is_empty() {
            return Err("The source ip is empty.");
        }
        if Source::parse(source).is_none() {
            return Err("The source ip is invalid.");
        }
    }
    let decision = decision(entry).ok_or("The decision is null or illegal.")?;
    Ok(PolicyEntryInfo {
        actions,
        decision: Some(decision.to_owned()),
        resource: resource.to_string(),
        source_ips: (!sources.is_empty()).then(|| sources.to_vec()),
    })
}

#[cfg(test)]
mod tests;
