//! Users and what they may do, from the shell.

use crate::support::{Run, Served, command, run, run_command};

/// A server that asks for users, and the secret of its first one.
async fn secured() -> (Served, String) {
    let served = Served::start(&["--temp", "--auth"]).await;
    let file = format!("{}/config/rocketry-admin.secret", served.data);
    let secret = std::fs::read_to_string(file).unwrap();
    (served, secret)
}

async fn as_user(served: &Served, user: &str, secret: &str, args: &[&str]) -> Run {
    let mut command = command(args);
    command
        .env("NAMESRV_ADDR", &served.namesrv)
        .env("ROCKETRY_ACCESS_KEY", user)
        .env("ROCKETRY_SECRET_KEY", secret);
    run_command(command, b"").await
}

#[tokio::test]
async fn users_are_made_and_do_what_they_may() {
    let (served, secret) = secured().await;
    let admin = |args: &'static [&'static str]| as_user(&served, "admin", &secret, args);
    served
        .run(&["send", "Orders", "x"])
        .await
        .fails_with(1, &["username cannot be null", "--access-key"]);

    let created = admin(&["user", "create", "alice", "--output", "json"])
        .await
        .ok()
        .json();
    let password = created["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 32);
    let alice = |args: &'static [&'static str]| as_user(&served, "alice", &password, args);
    alice(&["send", "Orders", "x"]).await.fails_with(
        1,
        &[
            "User:alice has no permission to access Topic:Orders",
            "rocketry acl create alice --resource Topic:Orders",
        ],
    );
    let resource = ["--resource", "Topic:Ord*", "--actions", "pub,Get"];
    let rule = [&["acl", "create", "alice"][..], &resource].concat();
    let done = as_user(&served, "admin", &secret, &rule).await.ok();
    let expected = format!("created User:alice on {}\n", served.broker);
    assert_eq!(done.text(), expected);
    alice(&["send", "Orders", "hello"]).await.ok();
    let shown = admin(&["acl", "get", "alice"]).await.ok().text();
    assert_eq!(
        shown,
        "SUBJECT     TYPE    RESOURCE    ACTIONS  FROM      DECISION\n\
         User:alice  Custom  Topic:Ord*  Pub,Get  anywhere  Allow\n"
    );
    let list = admin(&["acl", "list", "--resource", "Group", "--output", "json"]).await;
    assert_eq!(list.ok().json(), serde_json::json!({ "acls": [] }));
    admin(&[
        "acl",
        "delete",
        "alice",
        "--resource",
        "Topic:Other",
        "--yes",
    ])
    .await
    .fails_with(1, &["no rule on Topic:Other", "acl get alice"]);

    admin(&["user", "update", "alice", "--status", "disable"])
        .await
        .ok();
    alice(&["send", "Orders", "x"])
        .await
        .fails_with(1, &["User:alice is disabled"]);
    let users = admin(&["user", "list"]).await.ok().text();
    assert_eq!(
        users,
        "USER   TYPE    STATUS\nadmin  Super   enable\nalice  Normal  disable\n"
    );
    let kept = admin(&["user", "list", "--show-password", "-o", "json"]).await;
    assert_eq!(kept.ok().json()["users"][1]["password"], *password);
    admin(&["user", "delete", "alice", "--yes"]).await.ok();
    admin(&["user", "delete", "alice", "--yes"])
        .await
        .fails_with(1, &["there is no user alice"]);
    admin(&["acl", "get", "alice"])
        .await
        .fails_with(1, &["The subject is not exist."]);
    served.stop().await;
}

/// What the documentation tells to do is enough, and what it says to be needed is.
#[tokio::test]
async fn a_user_consumes_by_the_recipe() {
    let (served, secret) = secured().await;
    let admin = async |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        as_user(&served, "admin", &secret, &words).await.ok()
    };
    admin("user create alice --password its-a-secret").await;
    let alice = async |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        as_user(&served, "alice", "its-a-secret", &words).await
    };
    admin("acl create alice --resource Topic:Orders --actions Pub,Sub").await;
    alice("send Orders hello").await.ok();
    alice("consume Orders --wait 0s").await.fails_with(
        1,
        &[
            "has no permission to access Topic:Orders",
            "replaces a rule on Topic:Orders",
            "rocketry acl get alice",
        ],
    );
    admin("acl create alice --resource Topic:Orders --actions Pub,Sub,Get").await;
    admin("acl create alice --resource Group:billing --actions Sub").await;
    for wait in ["0s", "1s"] {
        let line = format!("consume Orders --group billing --wait {wait} --output raw");
        let text = alice(&line).await.ok().text();
        assert_eq!(text, if wait == "0s" { "hello\n" } else { "" });
    }
    let line = "consume Orders --wait 0s --output raw";
    alice(line).await.fails_with(1, &["Group:TOOLS_CONSUMER"]);
    admin("acl create alice --resource Group:TOOLS_CONSUMER --actions Sub").await;
    assert_eq!(alice(line).await.ok().text(), "hello\n");
}

#[tokio::test]
async fn old_names_make_users_and_rules_and_copy_them() {
    let (one, secret) = secured().await;
    let (two, secret_of_two) = secured().await;
    let password = ["user", "update", "admin", "--password", &secret];
    as_user(&two, "admin", &secret_of_two, &password).await.ok();
    for (name, line) in [
        ("createUser", "-u bob -p 12345678 -t normal"),
        (
            "createAcl",
            "-s User:bob -r Topic:*,Group:g -a Pub,Sub -d Allow",
        ),
        ("updateUser", "-u bob -s enable"),
    ] {
        let args = ["mqadmin", name, "-b", &one.broker];
        let flags: Vec<_> = line.split(' ').collect();
        as_user(&one, "admin", &secret, &[&args[..], &flags].concat())
            .await
            .ok();
    }
    let way = ["-f", &one.broker, "-t", &two.broker];
    for (name, flag, who) in [("copyUser", "-u", "bob"), ("copyAcl", "-s", "User:bob")] {
        let args = [&["mqadmin", name, flag, who][..], &way].concat();
        as_user(&one, "admin", &secret, &args).await.ok();
    }
    let get = ["mqadmin", "getUser", "-c", "DefaultCluster", "-u", "bob"];
    let there = as_user(&two, "admin", &secret, &get).await.ok().text();
    assert!(there.contains("12345678"), "{there}");
    let list = ["mqadmin", "listAcl", "-c", "DefaultCluster", "-s", "bob"];
    let rules = as_user(&two, "admin", &secret, &list).await.ok().text();
    assert_eq!(rules.lines().count(), 3, "{rules}");
    as_user(&two, "bob", "12345678", &["send", "T", "x"])
        .await
        .ok();
}

#[tokio::test]
async fn the_first_user_is_named_and_listening_elsewhere_takes_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let file = secret.to_str().unwrap();
    let init = ["--init-user", "root", "--init-secret-file", file];
    let served = Served::start(&[&["--temp", "--auth"][..], &init].concat()).await;
    as_user(&served, "root", "hush", &["send", "T", "x"])
        .await
        .ok();
    served.stop().await;

    let mut by_variable = command(&[
        "serve",
        "--temp",
        "--auth",
        "--init-user",
        "root",
        "--namesrv-port",
        "0",
        "--broker-port",
        "0",
    ]);
    by_variable.env("ROCKETRY_INIT_SECRET", "hush");
    let served = Served::start_command(by_variable).await;
    as_user(&served, "root", "hush", &["send", "T", "x"])
        .await
        .ok();
    served.stop().await;

    let ports = [
        "serve",
        "--temp",
        "--namesrv-port",
        "0",
        "--broker-port",
        "0",
    ];
    let elsewhere = ["--host", "0.0.0.0", "--advertise", "127.0.0.1"];
    for (args, code, texts) in [
        (
            &elsewhere[..],
            1,
            &["0.0.0.0", "--allow-anonymous", "--auth"][..],
        ),
        (
            &["--auth", "--init-user", "root"],
            2,
            &["no secret", "--init-secret-file", "ROCKETRY_INIT_SECRET"],
        ),
        (&["--init-user", "root"], 2, &["--auth"]),
        (&["--auth", "--allow-anonymous"], 2, &["--allow-anonymous"]),
        (&["--auth", "--open-codes", "3001"], 1, &["3001"]),
    ] {
        run(&[&ports[..], args].concat())
            .await
            .fails_with(code, texts);
    }
    for word in ["--allow-anonymous", "--auth"] {
        let served = Served::start(&[&["--temp", word][..], &elsewhere].concat()).await;
        served.stop().await;
    }
}

/// Who a broker.conf of Apache's lets in gets in, and as whom the broker registers; options choose another first user.
#[tokio::test]
async fn users_of_a_broker_conf_get_in() {
    let directory = tempfile::tempdir().unwrap();
    let conf = directory.path().join("broker.conf");
    std::fs::write(
        &conf,
        "authenticationEnabled=true\nauthorizationEnabled=true\n\
         initAuthenticationUser={\"username\":\"root\",\"password\":\"root-secret\"}\n\
         innerClientAuthenticationCredentials={\"accessKey\":\"inner\",\"secretKey\":\"inner-secret\"}\n",
    )
    .unwrap();
    let conf = conf.to_str().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "first-secret").unwrap();
    let first = ["--auth", "--init-user", "first", "--init-secret-file"];
    let of_file = ["--temp", "--config", conf];
    let chosen = [&of_file[..], &first, &[secret.to_str().unwrap()]].concat();
    for (options, users) in [
        (&of_file[..], ["inner", "root"]),
        (&chosen, ["first", "inner"]),
    ] {
        let served = Served::start(options).await;
        let list = ["user", "list"];
        for name in users {
            let secret = format!("{name}-secret");
            let listed = as_user(&served, name, &secret, &list).await.ok();
            let rows: String = users
                .iter()
                .map(|user| format!("{user:5}  Super  enable\n"))
                .collect::<Vec<_>>()
                .concat();
            let expected = format!("USER   TYPE   STATUS\n{rows}");
            assert_eq!(listed.text(), expected);
        }
        as_user(&served, "inner", "wrong", &list)
            .await
            .fails_with(1, &["check signature failed"]);
        served.stop().await;
    }
}
