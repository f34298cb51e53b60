//! `serve`: its ready line, its signals, its directory.

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::support::{Served, command, parse_ready, run, run_command};

#[tokio::test]
async fn one_ready_line_and_a_graceful_stop() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("not/there/yet");
        let data = data.to_str().unwrap();
        let mut server = Served::start(&["--data", data]).await;
        let (namesrv, broker, printed, ms) = parse_ready(&server.ready).unwrap();
        assert!(
            namesrv.starts_with("127.0.0.1:") && broker.starts_with("127.0.0.1:"),
            "{}",
            server.ready
        );
        assert_eq!(printed, data);
        assert!(ms < 60_000, "{}", server.ready);
        server.run(&["send", "Kept", "hello"]).await.ok();

        server.signal(signal);
        let mut rest = String::new();
        server.stdout.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "", "exactly one line");
        assert_eq!(
            server.child.wait().await.unwrap().code(),
            Some(0),
            "{signal:?}"
        );

        let server = Served::start(&["--data", data]).await;
        let kept = server
            .run(&["consume", "Kept", "--count", "1", "--output", "raw"])
            .await
            .ok();
        assert_eq!(kept.text(), "hello\n");
        let (status, _) = server.stop().await;
        assert_eq!(status.code(), Some(0));
    }
}

/// A broker.conf of Apache's gives names, sizes and directory; options go before it, and what it asks for in vain is said.
#[tokio::test]
async fn a_broker_conf_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("store");
    let conf = directory.path().join("broker.conf");
    let text = format!(
        "brokerName=from-file\nbrokerClusterName=C\nlistenPort=1\nstorePathRootDir={0}\nstorePathCommitLog={0}/commitlog\n\
         mappedFileSizeCommitLog=65536\nmaxHashSlotNum=100\nmaxIndexNum=400\nhaListenPort=7\n",
        data.display()
    );
    std::fs::write(&conf, text).unwrap();
    let conf = conf.to_str().unwrap();
    let mut server = Served::start(&["--config", conf]).await;
    assert_eq!(server.data, data.to_str().unwrap());
    server
        .run(&["send", "T", "x", "--key", "k", "--count", "500"])
        .await
        .ok();
    let mut errors = server.child.stderr.take().unwrap();
    assert_eq!(server.stop().await.0.code(), Some(0));
    let mut stderr = String::new();
    errors.read_to_string(&mut stderr).await.unwrap();
    assert!(
        stderr.contains("without a meaning here: haListenPort"),
        "{stderr}"
    );
    let check = run(&["store", "check", data.to_str().unwrap()]).await.ok();
    for line in [
        "brokerName=from-file",
        "brokerClusterName=C",
        "mappedFileSizeCommitLog=65536",
        "maxHashSlotNum=100",
        "maxIndexNum=400",
    ] {
        assert!(check.text().contains(line), "{}", check.text());
    }
    for (name, len) in [("commitlog/00000000000000065536", 65536), ("index", 0)] {
        let found = std::fs::metadata(data.join(name)).unwrap();
        assert!(found.is_dir() || found.len() == len, "{name}");
    }

    std::fs::write(conf, "brokerRole=SLAVE\n").unwrap();
    run(&["serve", "--temp", "--config", conf])
        .await
        .fails_with(1, &[conf, "brokerRole=SLAVE", "no replicas"]);

    // what the file sets is not set back by options that were not given
    std::fs::write(conf, "maxMessageSize=0\n").unwrap();
    run(&["serve", "--temp", "--config", conf, "--namesrv-port", "0"])
        .await
        .fails_with(1, &["max_message_bytes 0"]);
}

#[tokio::test]
async fn a_temporary_directory_is_gone_afterwards() {
    let server = Served::temp().await;
    let data = server.data.clone();
    assert!(std::path::Path::new(&data).is_dir(), "{data}");
    server.stop().await;
    assert!(!std::path::Path::new(&data).exists(), "{data}");
}

#[tokio::test]
async fn ports_in_use_are_named_before_anything_is_written() {
    let server = Served::temp().await;
    let port = |address: &str| address.rsplit_once(':').unwrap().1.to_owned();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for (taken, address, role) in [
        ("--namesrv-port", &server.namesrv, "name server"),
        ("--broker-port", &server.broker, "broker"),
    ] {
        let other = if taken == "--broker-port" {
            "--namesrv-port"
        } else {
            "--broker-port"
        };
        run(&[
            "serve",
            "--data",
            data.to_str().unwrap(),
            taken,
            &port(address),
            other,
            "0",
        ])
        .await
        .fails_with(1, &[role, address, "in use", "any free port"]);
        assert!(
            !data.exists(),
            "{taken}: the directory was created although the server could not start"
        );
    }
}

#[tokio::test]
async fn a_directory_serves_one_server_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let server = Served::start(&["--data", data]).await;
    let second = run(&[
        "serve",
        "--data",
        data,
        "--namesrv-port",
        "0",
        "--broker-port",
        "0",
    ])
    .await
    .fails_with(1, &["in use"]);
    assert_eq!(second.stderr.matches(data).count(), 1, "{}", second.stderr);
    server.run(&["send", "Still", "here"]).await.ok();
    server.kill().await;
    // A killed server leaves no lock.
    Served::start(&["--data", data]).await.stop().await;
}

#[tokio::test]
async fn a_directory_of_others_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("thesis.txt");
    std::fs::write(&file, "years of work").unwrap();
    let data = directory.path().to_str().unwrap();
    run(&[
        "serve",
        "--data",
        data,
        "--namesrv-port",
        "0",
        "--broker-port",
        "0",
    ])
    .await
    .fails_with(1, &[data]);
    let entries: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(entries, [file]);

    let file = entries[0].to_str().unwrap();
    run(&[
        "serve",
        "--data",
        file,
        "--namesrv-port",
        "0",
        "--broker-port",
        "0",
    ])
    .await
    .fails_with(1, &[file]);
}

#[tokio::test]
async fn the_default_directory_belongs_to_the_user() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(&["serve", "--namesrv-port", "0", "--broker-port", "0"]);
    command.env("HOME", home.path()).env_remove("XDG_DATA_HOME");
    let mut child = command.spawn().unwrap();
    let mut ready = String::new();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut ready)
        .await
        .unwrap();
    let (_, _, data, _) = parse_ready(&ready).unwrap();
    assert_eq!(
        std::path::Path::new(&data),
        home.path().join(".local/share/rocketry")
    );
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_broker_joins_a_name_server_elsewhere() {
    let first = Served::temp().await;
    let second = Served::start(&[
        "--temp",
        "--namesrv",
        &first.namesrv,
        "--broker-name",
        "broker-b",
    ])
    .await;
    assert_eq!(second.namesrv, first.namesrv);
    first.run(&["topic", "create", "Both"]).await.ok();
    let route = first
        .run(&["topic", "route", "Both", "--output", "json"])
        .await
        .ok()
        .json();
    let brokers: Vec<_> = route["brokers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["broker"].as_str().unwrap())
        .collect();
    assert_eq!(brokers, ["broker-a", "broker-b"]);
    let sent = first
        .run(&[
            "send",
            "Both",
            "x",
            "--queue",
            "broker-b:0",
            "--output",
            "jsonl",
        ])
        .await
        .ok()
        .jsonl();
    assert_eq!(sent[0]["broker"], "broker-b");
}

#[tokio::test]
async fn bad_configuration_is_told_completely() {
    run(&[
        "serve",
        "--temp",
        "--broker-name",
        "a b",
        "--cluster",
        "c d",
        "--broker-port",
        "0",
        "--namesrv-port",
        "0",
    ])
    .await
    .fails_with(1, &["a b", "c d"]);
    let mut command = command(&["serve"]);
    command
        .env_remove("HOME")
        .env_remove("XDG_DATA_HOME")
        .args(["--temp", "--namesrv", ";"]);
    run_command(command, b"")
        .await
        .fails_with(2, &["no address"]);
}

#[tokio::test]
async fn name_server_and_brokers_in_processes_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let namesrv = {
        let mut command = command(&["serve", "--role", "namesrv", "--namesrv-port", "0"]);
        command.args(["--output", "json", "--data"]);
        command.arg(directory.path().join("ns"));
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
        tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line)
            .await
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["role"], "namesrv");
        assert_eq!(ready["broker"], serde_json::Value::Null);
        assert_eq!(ready["pid"], child.id().unwrap());
        (child, ready["namesrv"].as_str().unwrap().to_owned())
    };
    let (mut namesrv_child, namesrv) = namesrv;
    let mut brokers = Vec::new();
    for name in ["broker-a", "broker-b"] {
        let args = ["--temp", "--role", "broker", "--namesrv", &namesrv];
        brokers.push(Served::start(&[&args[..], &["--broker-name", name]].concat()).await);
    }
    assert_eq!(brokers[0].namesrv, namesrv);
    // Both are registered once a topic can be made on both.
    brokers[0].run(&["topic", "create", "Spread"]).await.ok();
    for name in ["broker-a:0", "broker-b:0"] {
        let sent = brokers[0]
            .run(&["send", "Spread", "x", "--queue", name, "--output", "jsonl"])
            .await
            .ok()
            .jsonl();
        assert_eq!(sent[0]["broker"], name.strip_suffix(":0").unwrap());
    }
    for broker in brokers {
        assert_eq!(broker.stop().await.0.code(), Some(0));
    }
    namesrv_child.kill().await.unwrap();
}

#[tokio::test]
async fn the_address_that_clients_are_told_is_explained() {
    let mut server = Served::start(&["--temp", "--advertise", "localhost"]).await;
    assert!(server.broker.starts_with("localhost:"), "{}", server.ready);
    server.run(&["send", "Named", "x"]).await.ok();
    server.signal(Signal::TERM);
    let mut stderr = String::new();
    let mut pipe = server.child.stderr.take().unwrap();
    pipe.read_to_string(&mut stderr).await.unwrap();
    let told = format!("clients are told {}: it was given", server.broker);
    assert!(stderr.contains(&told), "{stderr}");
}

#[tokio::test]
async fn roles_and_addresses_that_cannot_work_are_refused_with_a_way_out() {
    for (args, texts) in [
        (&["--role", "broker"][..], ["no name server", "--namesrv"]),
        (
            &["--role", "namesrv", "--namesrv", "a:1"],
            ["registers with nobody", "--namesrv-port"],
        ),
        (&["--broker-id", "1"], ["replica", "--broker-name"]),
        (&["--advertise", "0.0.0.0"], ["0.0.0.0", "--advertise"]),
        (&["--advertise", "mq:port"], ["port", "HOST:PORT"]),
    ] {
        run(&[&["serve", "--temp"], args].concat())
            .await
            .fails_with(2, &texts);
    }
}

/// Thousands of clients are served although shells hand down a low limit.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn as_many_files_are_open_as_the_system_allows() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let script = "ulimit -Sn 128 && exec \"$0\" serve --temp --namesrv-port 0";
    let mut server = tokio::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rocketry")])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut ready).await.unwrap();
    let limits = format!("/proc/{}/limits", server.id().unwrap());
    let limits = std::fs::read_to_string(limits).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut words = line.unwrap().split_whitespace().skip(3);
    let (soft, hard) = (words.next(), words.next());
    assert_ne!(soft, Some("128"));
    assert_eq!(soft, hard, "{limits}");
}
