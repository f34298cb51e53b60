use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn entry(resource: &str, actions: &str, decision: &str) -> PolicyEntryInfo {
    PolicyEntryInfo {
        actions: actions.split(',').map(str::to_owned).collect(),
        decision: Some(decision.to_owned()),
        resource: resource.to_owned(),
        source_ips: None,
    }
}

fn rules(custom: &[PolicyEntryInfo], default: &[PolicyEntryInfo]) -> Rules {
    let policy = |name: &str, entries: &[PolicyEntryInfo]| PolicyInfo {
        policy_type: Some(name.to_owned()),
        entries: entries.to_vec(),
    };
    Rules::of(&AclInfo {
        policies: vec![policy("custom", custom), policy("DEFAULT", default)],
        subject: "User:u".to_owned(),
    })
}

fn topic(rules: &Rules, name: &str, actions: Actions) -> Decision {
    rules.decide(Kind::Topic, name, actions, HOME)
}

#[test]
fn the_rule_that_says_most_decides() {
    let rules = rules(
        &[
            entry("*", "All", "Allow"),
            entry("Topic:*", "Pub", "Deny"),
            entry("Topic:a*", "Pub", "Allow"),
            entry("Topic:ab*", "Pub", "Deny"),
            entry("Topic:abc", "Pub", "Allow"),
        ],
        &[],
    );
    for (name, expected) in [
        ("x", Decision::Denied),
        ("a", Decision::Allowed),
        ("ab", Decision::Denied),
        ("abd", Decision::Denied),
        ("abc", Decision::Allowed),
    ] {
        assert_eq!(topic(&rules, name, Actions::PUB), expected, "{name}");
        // Nothing but the first rule speaks of it.
        assert_eq!(topic(&rules, name, Actions::SUB), Decision::Allowed);
    }
    assert_eq!(
        rules.decide(Kind::Group, "abc", Actions::PUB, HOME),
        Decision::Allowed
    );
}

#[test]
fn of_equal_rules_the_one_that_denies_wins_and_any_action_will_do() {
    let both = [
        entry("Topic:t", "Pub,Sub", "Allow"),
        entry("Topic:t", "Sub", "Deny"),
    ];
    let rules = rules(&both, &[]);
    assert_eq!(topic(&rules, "t", Actions::PUB), Decision::Allowed);
    assert_eq!(topic(&rules, "t", Actions::SUB), Decision::Denied);
    assert_eq!(topic(&rules, "t", Actions::GET), Decision::NoRule);
    let either = Actions::GET.or(Actions::PUB);
    assert_eq!(topic(&rules, "t", either), Decision::Allowed);
}

#[test]
fn default_rules_speak_where_custom_ones_are_silent() {
    let rules = rules(
        &[entry("Topic:*", "Pub", "Deny")],
        &[
            entry("Topic:t", "Pub", "Allow"),
            entry("Topic:t", "Sub", "Allow"),
        ],
    );
    assert_eq!(topic(&rules, "t", Actions::PUB), Decision::Denied);
    assert_eq!(topic(&rules, "t", Actions::SUB), Decision::Allowed);
}

#[test]
fn rules_hold_for_their_addresses() {
    for (source, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
        ("10.0.0.7", "::ffff:10.0.0.7", "::10.0.0.7"),
        ("fd00::/16", "fd00:1::1", "fd01::1"),
        ("0.0.0.0/0", "1.2.3.4", "::1"),
        ("::/0", "fd00::1", "1.2.3.4"),
    ] {
        let mut one = entry("Topic:t", "Pub", "Allow");
        one.source_ips = Some(vec!["192.0.2.1".to_owned(), source.to_owned()]);
        let rules = rules(&[one], &[]);
        let from =
            |address: &str| rules.decide(Kind::Topic, "t", Actions::PUB, address.parse().unwrap());
        assert_eq!(from(inside), Decision::Allowed, "{source} {inside}");
        assert_eq!(from(outside), Decision::NoRule, "{source} {outside}");
    }
}

#[test]
fn resources_are_read_and_written_as_java_does() {
    for (text, written) in [
        ("*", "*"),
        ("topic:Orders", "Topic:Orders"),
        ("GROUP:g*", "Group:g*"),
        ("Cluster:*", "Cluster:*"),
        ("Topic:a*b*", "Topic:a*"),
        ("Topic:a*b", "Topic:a*b"),
        ("Topic", "Topic:"),
        ("any:x", "*"),
    ] {
        assert_eq!(Resource::parse(text).unwrap().to_string(), written);
    }
    for text in ["", " ", "Queue:x", "Orders"] {
        assert_eq!(Resource::parse(text), None, "{text:?}");
    }
}

#[test]
fn what_is_kept_is_checked_with_the_remarks_of_java() {
    let check = |change: fn(&mut PolicyEntryInfo)| {
        let mut one = entry("topic:t", "pub,PUB,sub,nonsense", "allow");
        change(&mut one);
        checked(vec![PolicyInfo {
            policy_type: None,
            entries: vec![one],
        }])
    };
    let kept = check(|_| ()).unwrap();
    assert_eq!(kept[0].policy_type.as_deref(), Some("Custom"));
    assert_eq!(kept[0].entries[0], entry("Topic:t", "Pub,Pub,Sub", "Allow"));
    let fault = |change| check(change).unwrap_err();
    assert_eq!(
        fault(|e| e.resource = "x".to_owned()),
        "The resource is null."
    );
    assert_eq!(fault(|e| e.actions.clear()), "The actions is empty.");
    assert_eq!(
        fault(|e| e.actions = vec!["Pub".to_owned(); 65]),
        "A rule has at most 64 actions."
    );
    assert_eq!(
        fault(|e| e.actions.push("any".to_owned())),
        "The actions can not be Any."
    );
    assert_eq!(
        fault(|e| e.decision = None),
        "The decision is null or illegal."
    );
    assert_eq!(
        fault(|e| e.source_ips = Some(vec![" ".to_owned()])),
        "The source ip is empty."
    );
    for source in ["localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "1.2.3"] {
        let mut one = entry("Topic:t", "Pub", "Allow");
        one.source_ips = Some(vec![source.to_owned()]);
        assert_eq!(checked_entry(&one), Err("The source ip is invalid."));
    }
    assert_eq!(checked(Vec::new()), Err("The policies is empty."));
}
