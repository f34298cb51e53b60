use rocketry_protocol::body::access::PolicyEntryInfo;

use super::*;

fn user(name: &str, secret: Option<&str>) -> UserInfo {
    UserInfo {
        password: secret.map(str::to_owned),
        username: name.to_owned(),
        ..UserInfo::default()
    }
}

fn policy(resources: &[&str]) -> Vec<PolicyInfo> {
    let entry = |resource: &&str| PolicyEntryInfo {
        actions: vec!["Pub".to_owned()],
        decision: Some("Allow".to_owned()),
        resource: (*resource).to_owned(),
        source_ips: None,
    };
    vec![PolicyInfo {
        entries: resources.iter().map(entry).collect(),
        policy_type: None,
    }]
}

fn resources(acl: &AclInfo) -> Vec<&str> {
    let entries = acl.policies.iter().flat_map(|policy| &policy.entries);
    entries.map(|entry| &*entry.resource).collect()
}

fn remark<T: std::fmt::Debug>(result: Result<T, Fault>) -> (i32, String) {
    let fault = result.unwrap_err();
    (fault.code.0, fault.remark)
}

#[test]
fn users_and_rules_survive_and_nobody_else_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(dir.path()).unwrap();
    accounts.create_user(user("alice", Some("s1"))).unwrap();
    accounts.create_user(user("bob", Some("s2"))).unwrap();
    accounts
        .put_acl("user:alice", policy(&["Topic:t"]))
        .unwrap();
    let change = UserInfo {
        user_status: Some("DISABLE".to_owned()),
        user_type: Some("super".to_owned()),
        ..user("bob", None)
    };
    accounts.update_user(change).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        let file = file::path(dir.path());
        assert_eq!(mode(&file), 0o600);
        // A copy made without care is put right by the next start.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        Accounts::open(dir.path()).unwrap();
        assert_eq!(mode(&file), 0o600);
    }
    let again = Accounts::open(dir.path()).unwrap();
    assert_eq!(
        again.users(None),
        [
            UserInfo {
                password: Some("s1".to_owned()),
                user_status: Some("enable".to_owned()),
                user_type: Some("Normal".to_owned()),
                username: "alice".to_owned(),
            },
            UserInfo {
                password: Some("s2".to_owned()),
                user_status: Some("disable".to_owned()),
                user_type: Some("Super".to_owned()),
                username: "bob".to_owned(),
            },
        ]
    );
    assert_eq!(again.users(Some("lic")).len(), 1);
    let acl = again.acl(Some("User:alice")).unwrap().unwrap();
    assert_eq!(resources(&acl), ["Topic:t"]);
    assert!(!again.has_super_user(), "bob is disabled");
    again.delete_user("alice").unwrap();
    again.delete_user("alice").unwrap();
    assert!(again.find("alice").is_none() && again.acls(None, None).is_empty());
}

#[test]
fn a_damaged_file_lets_nobody_in_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = file::path(dir.path());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\"users\":[").unwrap();
    let error = Accounts::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("rocketry-access.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"users\":[");
}

#[test]
fn what_cannot_be_written_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("config"), "in the way").unwrap();
    let (code, remark) = remark(accounts.create_user(user("a", Some("s"))));
    assert_eq!(code, 1);
    assert!(remark.contains("cannot be written"), "{remark}");
    assert!(accounts.find("a").is_none() && accounts.user("a").is_none());
}

#[test]
fn refusals_have_javas_words() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(dir.path()).unwrap();
    let no = |result: Result<(), Fault>, text: &str| {
        assert_eq!(remark(result), (16, text.to_owned()));
    };
    no(
        accounts.create_user(user("a", None)),
        "password can not be blank",
    );
    no(
        accounts.create_user(user(" ", Some("s"))),
        "username can not be blank",
    );
    accounts.create_user(user("a", Some("s"))).unwrap();
    no(
        accounts.create_user(user("a", Some("s"))),
        "The user is existed",
    );
    no(
        accounts.update_user(user("b", None)),
        "The user is not exist",
    );
    no(
        accounts.put_acl("User:b", policy(&["*"])),
        "The subject of User:b is not exist.",
    );
    no(
        accounts.delete_acl(Some("User:b"), None, None),
        "The subject is not exist.",
    );
    no(
        accounts.delete_acl(Some("User:a"), None, None),
        "The acl is not exist.",
    );
    no(
        accounts.delete_acl(None, None, None),
        "The subject is null.",
    );
    assert_eq!(
        remark(accounts.acl(Some("User:b"))).1,
        "The subject is not exist."
    );
    assert_eq!(accounts.acl(Some("User:a")).unwrap(), None);
    assert_eq!(remark(accounts.put_acl("Role:a", policy(&["*"]))).0, 1);
}

#[test]
fn rules_are_merged_by_resource_and_removed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::open(dir.path()).unwrap();
    accounts.create_user(user("a", Some("s"))).unwrap();
    accounts
        .put_acl("User:a", policy(&["topic:t", "Group:g"]))
        .unwrap();
    let mut second = policy(&["Topic:t", "Topic:u"]);
    second[0].entries[0].decision = Some("deny".to_owned());
    accounts.put_acl("User:a", second).unwrap();
    let acl = accounts.acl(Some("User:a")).unwrap().unwrap();
    assert_eq!(resources(&acl), ["Topic:t", "Group:g", "Topic:u"]);
    assert_eq!(acl.policies[0].entries[0].decision.as_deref(), Some("Deny"));
    let only = accounts.acls(Some("a"), Some("Group"));
    assert_eq!(resources(&only[0]), ["Group:g"]);
    assert!(accounts.acls(Some("b"), None).is_empty());

    let delete = |resource| accounts.delete_acl(Some("User:a"), None, resource);
    // A typing error must not take everything away, as it does in Java.
    assert_eq!(remark(delete(Some("Topik:t"))).1, "The resource is null.");
    delete(Some("topic:t")).unwrap();
    delete(Some("Topic:unknown")).unwrap();
    accounts
        .delete_acl(Some("User:a"), Some("Default"), Some("Group:g"))
        .unwrap();
    let acl = accounts.acl(Some("User:a")).unwrap().unwrap();
    assert_eq!(resources(&acl), ["Group:g", "Topic:u"]);
    delete(None).unwrap();
    assert_eq!(accounts.acl(Some("User:a")).unwrap(), None);
}

#[test]
fn users_and_rules_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::default();
    for number in 0..MAX_USERS {
        let name = format!("u{number}");
        kept.users.insert(name.clone(), user(&name, Some("secret")));
    }
    file::write(&file::path(dir.path()), &kept).unwrap();
    let accounts = Accounts::open(dir.path()).unwrap();
    let (code, text) = remark(accounts.create_user(user("one-more", Some("s"))));
    assert_eq!(
        (code, &*text),
        (1, "there are 10000 users already, the most that are kept")
    );
    assert!(accounts.find("u9999").is_some() && accounts.find("one-more").is_none());
    // Room for one more.
    accounts.delete_user("u0").unwrap();
    accounts.create_user(user("one-more", Some("s"))).unwrap();

    let names: Vec<_> = (0..=MAX_RULES_OF_USER)
        .map(|n| format!("Topic:{n}"))
        .collect();
    let many: Vec<_> = names.iter().map(|name| &**name).collect();
    assert_eq!(remark(accounts.put_acl("User:u1", policy(&many))).0, 1);
    assert_eq!(accounts.acl(Some("User:u1")).unwrap(), None);
    accounts.put_acl("User:u1", policy(&many[1..])).unwrap();
    let long = "s".repeat(MAX_SECRET_BYTES + 1);
    assert_eq!(remark(accounts.update_user(user("u1", Some(&long)))).0, 16);
}
