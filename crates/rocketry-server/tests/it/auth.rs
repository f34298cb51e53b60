//! Users, signatures and permissions, on both ports.

use std::{sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use rocketry_protocol::{
    MessageExt, RemotingCommand, Request, RequestCode, ResponseCode,
    acl::sign,
    body::{
        self,
        access::{AclInfo, PolicyEntryInfo, PolicyInfo, UserInfo},
        heartbeat::MessageModel,
        route::ClusterInfo,
    },
    header::{
        ConsumeMessageDirectlyRequest, ConsumerSendMsgBackRequest, CreateAclRequest,
        CreateUserRequest, DeleteAclRequest, DeleteUserRequest, EndTransactionRequest,
        GetAclRequest, GetRouteInfoRequest, GetUserRequest, ListAclRequest, ListUserRequest,
        SendMessageReply, SendMessageRequest, UpdateUserRequest, ViewMessageRequest,
        transaction_state,
    },
    id::{offset_msg_id, parse_offset_msg_id},
    sys_flag,
};
use rocketry_remoting::{ConnectOptions, Connections, Deadline, Handler, Responder, Unsupported};
use rocketry_server::{
    AccessOptions, Credentials, DataDir, FirstUser, Role, Server, ServerConfig, ServerError,
    TlsConfig, TlsMode, TlsServerConfig,
};
use tokio::sync::mpsc;

use crate::common::{TIMEOUT, Wire, beat, decode, heartbeat, pull, request_to, send};

const ROOT: (&str, &str) = ("root", "root-secret");

fn secured() -> ServerConfig {
    let mut access = AccessOptions::default();
    access.first_user = FirstUser::Named {
        name: ROOT.0.to_owned(),
        secret: ROOT.1.to_owned(),
    };
    let mut config = ServerConfig::temp();
    config.access = Some(access);
    config
}

fn signed(mut command: RemotingCommand, (name, secret): (&str, &str)) -> RemotingCommand {
    sign(
        &mut command,
        &Credentials {
            access_key: name.to_owned(),
            secret_key: secret.to_owned(),
            security_token: None,
        },
    );
    command
}

/// What Java says of every change of users and rules that succeeded.
const DONE: (i32, &str) = (0, "not set any response code");

/// Code and remark.
fn told(response: &RemotingCommand) -> (i32, &str) {
    (
        response.code,
        response.remark.as_deref().unwrap_or_default(),
    )
}

/// A secured server, and who may speak to it.
struct Secured(Wire);

impl Secured {
    async fn start() -> Self {
        Self(Wire::with(secured()).await)
    }

    async fn ask(&self, command: RemotingCommand, user: (&str, &str)) -> RemotingCommand {
        self.0.broker(signed(command, user)).await
    }

    async fn root<R: Request>(&self, request: &R, text: Option<Vec<u8>>) -> RemotingCommand {
        let command = RemotingCommand::request(request).with_body(text.unwrap_or_default());
        self.ask(command, ROOT).await
    }

    async fn add_user(&self, (name, secret): (&str, &str)) {
        let user = UserInfo {
            password: Some(secret.to_owned()),
            ..UserInfo::default()
        };
        let request = CreateUserRequest {
            username: Some(name),
        };
        let text = body::encode(&user).unwrap().to_vec();
        assert_eq!(told(&self.root(&request, Some(text)).await), DONE);
    }

    async fn allow(&self, name: &str, resources: &[(&str, &str)]) {
        self.rule(name, resources, "Allow").await;
    }

    async fn rule(&self, name: &str, resources: &[(&str, &str)], decision: &str) {
        let entries = resources.iter().map(|(resource, actions)| PolicyEntryInfo {
            actions: actions.split(',').map(str::to_owned).collect(),
            decision: Some(decision.to_owned()),
            resource: (*resource).to_owned(),
            source_ips: None,
        });
        let acl = AclInfo {
            policies: vec![PolicyInfo {
                entries: entries.collect(),
                policy_type: None,
            }],
            subject: format!("User:{name}"),
        };
        let request = CreateAclRequest {
            subject: Some(&acl.subject),
        };
        let text = body::encode(&acl).unwrap().to_vec();
        assert_eq!(told(&self.root(&request, Some(text)).await), DONE);
    }
}

fn put(topic: &str) -> RemotingCommand {
    send(&request_to(topic), "body")
}

#[tokio::test]
async fn only_signatures_of_known_users_are_let_in_on_both_ports() {
    let server = Secured::start().await;
    server.add_user(("alice", "alice-secret")).await;
    let change = UserInfo {
        user_status: Some("disable".to_owned()),
        ..UserInfo::default()
    };
    let request = UpdateUserRequest {
        username: Some("alice"),
    };
    let text = body::encode(&change).unwrap().to_vec();
    server.root(&request, Some(text)).await;

    let route = RemotingCommand::request(&GetRouteInfoRequest {
        topic: "TBW102",
        ..GetRouteInfoRequest::default()
    });
    let mut tampered = signed(put("t"), ROOT);
    tampered.body = "other".into();
    for (request, remark) in [
        (put("t"), "username cannot be null."),
        (
            put("t").with_field("AccessKey", ""),
            "username cannot be null.",
        ),
        (
            put("t").with_field("AccessKey", "root"),
            "check signature failed.",
        ),
        (
            put("t")
                .with_field("AccessKey", "root")
                .with_field("Signature", &"A".repeat(1 << 20)),
            "check signature failed.",
        ),
        (
            signed(put("t"), ("root", "wrong")),
            "check signature failed.",
        ),
        (tampered, "check signature failed."),
        (
            signed(put("t"), ("nobody", "x")),
            "User:nobody is not found.",
        ),
        (
            signed(put("t"), ("alice", "alice-secret")),
            "User:alice is disabled.",
        ),
        (
            signed(put("t"), ("alice", "wrong")),
            "User:alice is disabled.",
        ),
    ] {
        assert_eq!(told(&server.0.broker(request).await), (16, remark));
    }
    // Where brokers are everybody may ask, so that the broker can say what is wrong; nothing else.
    for asker in [route.clone(), signed(route, ("nobody", "x"))] {
        let told = server.0.namesrv(asker).await;
        assert_eq!((told.code, told.body.is_empty()), (0, false));
    }
    let list = RemotingCommand::bare_request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    let strangers = server.0.namesrv(list.clone()).await;
    assert_eq!(told(&strangers), (16, "username cannot be null."));
    assert_eq!(server.0.namesrv(signed(list, ROOT)).await.code, 0);
    assert_eq!(server.ask(put("t"), ROOT).await.code, 0);
    // Nothing of what was refused is stored.
    let stored = server.ask(RemotingCommand::request(&pull("t", 0, 0)), ROOT);
    assert_eq!(stored.await.field("maxOffset"), Some("1"));
}

#[tokio::test]
async fn users_do_what_their_rules_allow() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    let refused = |what: &str, why: &str| {
        format!("User:alice has no permission to access {what} from 127.0.0.1, {why}")
    };
    let nothing = server.ask(put("orders"), alice).await;
    let no_rule = refused("Topic:orders", "no matched policies.");
    assert_eq!(told(&nothing), (16, &*no_rule));

    server
        .allow("alice", &[("Topic:ord*", "Pub"), ("Group:CG", "Sub")])
        .await;
    server
        .rule("alice", &[("Topic:ordinary", "All")], "Deny")
        .await;
    assert_eq!(server.ask(put("orders"), alice).await.code, 0);
    let denied = refused("Topic:ordinary", "the decision is deny.");
    assert_eq!(
        told(&server.ask(put("ordinary"), alice).await),
        (16, &*denied)
    );
    // To send is not to read.
    let read = RemotingCommand::request(&pull("orders", 0, 0));
    assert_eq!(
        told(&server.ask(read.clone(), alice).await),
        (16, &*no_rule)
    );
    let group = || {
        let data = heartbeat("c", "CG", MessageModel::Clustering, &["orders"]);
        beat(&data)
    };
    assert_eq!(server.ask(group(), alice).await.code, 16);
    server.allow("alice", &[("Topic:ord*", "Pub,Sub")]).await;
    assert_eq!(server.ask(group(), alice).await.code, 0);
    assert_eq!(server.ask(read, alice).await.code, 0);
    let other = beat(&heartbeat(
        "c",
        "Other",
        MessageModel::Clustering,
        &["orders"],
    ));
    assert_eq!(
        told(&server.ask(other, alice).await),
        (16, &*refused("Group:Other", "no matched policies."))
    );

    // Rules go at once.
    let request = DeleteAclRequest {
        subject: Some("User:alice"),
        ..DeleteAclRequest::default()
    };
    assert_eq!(server.root(&request, None).await.code, 0);
    assert_eq!(server.ask(put("orders"), alice).await.code, 16);
    let request = DeleteUserRequest {
        username: Some("alice"),
    };
    assert_eq!(server.root(&request, None).await.code, 0);
    assert_eq!(
        told(&server.ask(put("orders"), alice).await).1,
        "User:alice is not found."
    );
}

/// What a group gave back is its own, whichever group asks for it.
#[tokio::test]
async fn a_retry_topic_is_read_only_by_who_may_consume_for_its_group() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    server.allow("alice", &[("Group:CG", "Sub")]).await;
    for group in ["CG", "Other"] {
        let topic = format!("%RETRY%{group}");
        assert_eq!(server.ask(put(&topic), ROOT).await.code, 0);
    }
    let read = |topic| RemotingCommand::request(&pull(topic, 0, 0));
    assert_eq!(server.ask(read("%RETRY%CG"), alice).await.code, 0);
    let subscribe = beat(&heartbeat(
        "c",
        "CG",
        MessageModel::Clustering,
        &["%RETRY%CG", "%RETRY%Other"],
    ));
    for request in [read("%RETRY%Other"), subscribe] {
        assert_eq!(
            told(&server.ask(request, alice).await),
            (
                16,
                "User:alice has no permission to access Group:Other from 127.0.0.1, no matched policies."
            )
        );
    }
    server.allow("alice", &[("Group:Other", "Sub")]).await;
    assert_eq!(server.ask(read("%RETRY%Other"), alice).await.code, 0);
}

/// Who guards the door must see the topic that is stored to.
#[tokio::test]
async fn a_header_with_two_topics_is_taken_for_the_one_that_is_used() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    server.allow("alice", &[("Topic:orders", "Pub")]).await;
    let mut two = put("orders");
    assert_eq!(server.ask(two.clone(), alice).await.code, 0);
    for (name, value) in [
        ("producerGroup", "PG"),
        ("topic", "salaries"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1"),
        ("flag", "0"),
        ("reconsumeTimes", "0"),
    ] {
        two = two.with_field(name, value);
    }
    let response = server.ask(two, alice).await;
    assert_eq!(response.code, 16, "{response:?}");
    assert!(told(&response).1.contains("Topic:salaries"), "{response:?}");
}

/// S-075: what the cluster's owner may do is closed to users, the configuration above all.
#[tokio::test]
async fn s075_settings_and_users_are_for_those_who_may_change_the_cluster() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    server
        .allow("alice", &[("Topic:*", "All"), ("Group:*", "All")])
        .await;
    let bare = |code| RemotingCommand::bare_request(code).with_field("x", "y");
    for (code, text) in [
        (RequestCode::UPDATE_BROKER_CONFIG, "brokerPermission=4"),
        (RequestCode::GET_BROKER_CONFIG, ""),
        (RequestCode::AUTH_LIST_USER, ""),
        (RequestCode::AUTH_CREATE_USER, "{}"),
        (RequestCode::AUTH_CREATE_ACL, "{}"),
        (RequestCode::DELETE_EXPIRED_COMMITLOG, ""),
        (RequestCode(9999), ""),
    ] {
        let request = bare(code).with_body(text);
        let response = server.ask(request, alice).await;
        assert_eq!(
            told(&response),
            (
                16,
                "User:alice has no permission to access Cluster:DefaultCluster from 127.0.0.1, no matched policies."
            ),
            "{code}"
        );
    }
    for code in [
        RequestCode::UPDATE_NAMESRV_CONFIG,
        RequestCode::REGISTER_BROKER,
        RequestCode::WIPE_WRITE_PERM_OF_BROKER,
        RequestCode::PUT_KV_CONFIG,
    ] {
        let response = server.0.namesrv(signed(bare(code), alice)).await;
        assert_eq!(response.code, 16, "{code}");
    }
    let change = bare(RequestCode::UPDATE_BROKER_CONFIG).with_body("brokerPermission=4");
    assert_eq!(server.ask(change, ROOT).await.code, 0);

    // A user who manages others makes no super users, changes none, and sees no secret.
    server.allow("alice", &[("Cluster:*", "All")]).await;
    let user = |kind: &str| {
        body::encode(&UserInfo {
            password: Some("x".to_owned()),
            user_type: Some(kind.to_owned()),
            ..UserInfo::default()
        })
        .unwrap()
    };
    let make = |name, kind: &str| {
        RemotingCommand::request(&CreateUserRequest {
            username: Some(name),
        })
        .with_body(user(kind))
    };
    let refused = server.ask(make("eve", "Super"), alice).await;
    assert_eq!(
        told(&refused),
        (1, "The super user can only be create by super user")
    );
    assert_eq!(server.ask(make("eve", "Normal"), alice).await.code, 0);
    let only_super = "The super user can only be update by super user";
    let change = |name, kind: &str| {
        RemotingCommand::request(&UpdateUserRequest {
            username: Some(name),
        })
        .with_body(user(kind))
    };
    let to_super = server.ask(change("eve", "Super"), alice).await;
    assert_eq!(told(&to_super), (1, only_super));
    let secret_of_root = server.ask(change("root", "Normal"), alice).await;
    assert_eq!(told(&secret_of_root), (16, only_super));
    let delete = RemotingCommand::request(&DeleteUserRequest {
        username: Some("root"),
    });
    assert_eq!(told(&server.ask(delete, alice).await), (16, only_super));
    let list = RemotingCommand::request(&ListUserRequest { filter: None });
    for (asker, expected) in [(alice, None), (ROOT, Some("root-secret"))] {
        let reply = server.ask(list.clone(), asker).await;
        let users: Vec<UserInfo> = body::decode(&reply.body).unwrap();
        let root = users.iter().find(|user| user.username == "root").unwrap();
        assert_eq!(root.password.as_deref(), expected, "{asker:?}");
        let get = RemotingCommand::request(&GetUserRequest {
            username: Some("root"),
        });
        let reply = server.ask(get, asker).await;
        let root: UserInfo = body::decode(&reply.body).unwrap();
        assert_eq!(root.password.as_deref(), expected, "{asker:?}");
    }
}

/// Where a message lies that was sent.
fn place(response: &RemotingCommand) -> i64 {
    let reply: SendMessageReply = response.header().unwrap();
    parse_offset_msg_id(&reply.msg_id).unwrap().1
}

/// A message of a topic that is delivered much later.
fn delayed(topic: &str) -> RemotingCommand {
    let request = SendMessageRequest {
        properties: "DELAY\u{1}18\u{2}",
        ..request_to(topic)
    };
    send(&request, "later")
}

/// The place of a message says nothing of its topic: it is looked at before it is given away.
#[tokio::test]
async fn a_message_is_found_by_its_place_only_by_who_may_see_its_topic() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    server.allow("alice", &[("Topic:open", "Pub,Get")]).await;
    let open = place(&server.ask(put("open"), alice).await);
    let secret = place(&server.ask(put("secret"), ROOT).await);
    let delayed = place(&server.ask(delayed("secret"), ROOT).await);
    for topic in [Some("open"), None] {
        let view = |offset| {
            RemotingCommand::request(&ViewMessageRequest {
                offset,
                topic,
                broker_name: None,
            })
        };
        assert_eq!(server.ask(view(open), alice).await.code, 0, "{topic:?}");
        for hidden in [secret, delayed] {
            let response = server.ask(view(hidden), alice).await;
            assert_eq!(
                told(&response),
                (
                    16,
                    "User:alice has no permission to access Topic:secret from 127.0.0.1, no matched policies."
                ),
                "{topic:?}"
            );
            assert!(response.body.is_empty());
            assert_eq!(server.ask(view(hidden), ROOT).await.code, 0);
        }
    }
}

/// Answers with the body of the message that it is to consume.
struct Consuming;

impl Handler for Consuming {
    fn handle(&self, request: RemotingCommand, responder: Responder) {
        if request.request_code() == RequestCode::CONSUME_MESSAGE_DIRECTLY {
            let body = decode(&request.body).remove(0).body;
            responder.respond(RemotingCommand::response(ResponseCode::SUCCESS).with_body(body));
        }
    }
}

/// To give a message back, or to have it consumed directly, is to read it: both come with a place.
#[tokio::test]
async fn a_message_is_consumed_by_its_place_only_by_who_may_read_its_topic() {
    let server = Secured::start().await;
    let alice = ("alice", "alice-secret");
    server.add_user(alice).await;
    server
        .allow("alice", &[("Topic:open", "Sub"), ("Group:CG", "Sub")])
        .await;
    let consumer = server.0.join(Arc::new(Consuming));
    let group = heartbeat("c", "CG", MessageModel::Clustering, &["open"]);
    assert_eq!(consumer.call(signed(beat(&group), alice)).await.code, 0);
    let give_back = async |offset| {
        let request = RemotingCommand::request(&ConsumerSendMsgBackRequest {
            offset,
            group: "CG",
            origin_topic: Some("open"),
            ..ConsumerSendMsgBackRequest::default()
        });
        server.ask(request, alice).await
    };
    let store_host = server.0.server.broker_addr().parse().unwrap();
    let consume = async |offset| {
        let request = RemotingCommand::request(&ConsumeMessageDirectlyRequest {
            consumer_group: "CG",
            client_id: Some("c"),
            msg_id: Some(&offset_msg_id(store_host, offset)),
            topic: Some("open"),
            ..ConsumeMessageDirectlyRequest::default()
        });
        server.ask(request, alice).await
    };
    for topic in ["open", "%RETRY%CG", "%RETRY%CG_open"] {
        let own = place(&server.ask(put(topic), ROOT).await);
        let (back, consumed) = (give_back(own).await, consume(own).await);
        assert_eq!((told(&back), consumed.code), ((0, ""), 0), "{topic}");
        assert_eq!(&*consumed.body, b"body", "{topic}");
    }
    for (hidden, resource) in [
        (put("secret"), "Topic:secret"),
        (delayed("secret"), "Topic:secret"),
        (put("%RETRY%CG_secret"), "Topic:secret"),
        (put("%RETRY%Other"), "Group:Other"),
    ] {
        let hidden = place(&server.ask(hidden, ROOT).await);
        let remark = format!(
            "User:alice has no permission to access {resource} from 127.0.0.1, no matched policies."
        );
        for response in [give_back(hidden).await, consume(hidden).await] {
            assert_eq!(told(&response), (16, &*remark));
            assert!(response.body.is_empty());
        }
    }
    // To look at a message is enough to have it consumed, and not to give it back.
    server.allow("alice", &[("Topic:secret", "Get")]).await;
    let seen = place(&server.ask(put("secret"), ROOT).await);
    let codes = (give_back(seen).await.code, consume(seen).await.code);
    assert_eq!(codes, (16, 0));
}

/// A producer that reports the half messages that it is asked about.
struct Asked(mpsc::UnboundedSender<MessageExt>);

impl Handler for Asked {
    fn handle(&self, request: RemotingCommand, _: Responder) {
        let half = decode(&request.body).remove(0);
        self.0.send(half).unwrap();
    }
}

/// Everybody may say that they are a producer of a group: it gives them no half messages of topics that they may not send to.
#[tokio::test]
async fn a_transaction_is_shown_to_and_decided_by_who_may_send_to_its_topic() {
    let mut config = secured();
    config.transaction_timeout = Duration::from_millis(100);
    config.transaction_check_interval = Duration::from_millis(50);
    let server = Secured(Wire::with(config).await);
    let (alice, bob) = (("alice", "alice-secret"), ("bob", "bob-secret"));
    for user in [alice, bob] {
        server.add_user(user).await;
    }
    server.allow("alice", &[("Topic:open", "Pub")]).await;
    server.allow("bob", &[("Topic:orders", "Pub")]).await;
    let introduce = async |user| {
        let (tell, asked) = mpsc::unbounded_channel();
        let peer = server.0.join(Arc::new(Asked(tell)));
        let data = heartbeat("p", "", MessageModel::Clustering, &[]);
        assert_eq!(peer.call(signed(beat(&data), user)).await.code, 0);
        (peer, asked)
    };
    let (_alices, mut alice_asked) = introduce(alice).await;
    let (_bobs, mut bob_asked) = introduce(bob).await;

    let half = SendMessageRequest {
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        born_timestamp: jiff::Timestamp::now().as_millisecond(),
        properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}PG\u{2}",
        ..request_to("orders")
    };
    assert_eq!(server.ask(send(&half, "paid"), bob).await.code, 0);
    // Both would have had their turn.
    let mut shown = None;
    for _ in 0..4 {
        let next = tokio::time::timeout(TIMEOUT, bob_asked.recv()).await;
        shown = next.unwrap();
    }
    let shown = shown.unwrap();
    assert_eq!((&*shown.topic, &*shown.body), ("orders", &b"paid"[..]));
    assert!(alice_asked.try_recv().is_err());

    // As Java's clients answer a check, as they decide after a send, and as old ones do both; with a topic of the caller's own.
    let unique_id = shown.msg_id();
    let decide = async |topic, user| {
        let request = RemotingCommand::request(&EndTransactionRequest {
            topic,
            producer_group: "PG",
            tran_state_table_offset: shown.queue_offset,
            commit_log_offset: shown.commit_log_offset,
            commit_or_rollback: transaction_state::COMMIT,
            from_transaction_check: true,
            msg_id: &unique_id,
            transaction_id: None,
            broker_name: None,
        });
        server.ask(request, user).await
    };
    let half_topic = Some("RMQ_SYS_TRANS_HALF_TOPIC");
    for topic in [half_topic, Some("orders"), None, Some("open")] {
        assert_eq!(
            told(&decide(topic, alice).await),
            (
                16,
                "User:alice has no permission to access Topic:orders from 127.0.0.1, no matched policies."
            ),
            "{topic:?}"
        );
    }
    for topic in [half_topic, Some("orders"), None] {
        assert_eq!(decide(topic, bob).await.code, 0, "{topic:?}");
    }
    let read = RemotingCommand::request(&pull("orders", 0, 0));
    let stored = server.ask(read, ROOT).await;
    assert_eq!(&*decode(&stored.body).remove(0).body, b"paid");
}

#[tokio::test]
async fn answers_about_users_are_javas() {
    let server = Secured::start().await;
    let none = server
        .root(
            &GetUserRequest {
                username: Some("x"),
            },
            None,
        )
        .await;
    assert_eq!((told(&none), none.body.len()), (DONE, 0));
    let blank = server.root(&GetUserRequest { username: None }, None).await;
    assert_eq!(told(&blank), (29, "The username is blank"));
    let blank = CreateUserRequest { username: Some("") };
    let blank = server.root(&blank, Some(b"{}".to_vec())).await;
    assert_eq!(told(&blank), (29, "The username is blank"));
    server.add_user(("alice", "s")).await;
    server.allow("alice", &[("topic:t", "pub")]).await;
    let get = GetAclRequest {
        subject: Some("User:alice"),
    };
    let acl = server.root(&get, None).await;
    assert_eq!(
        std::str::from_utf8(&acl.body).unwrap(),
        r#"{"policies":[{"entries":[{"actions":["Pub"],"decision":"Allow","resource":"Topic:t"}],"policyType":"Custom"}],"subject":"User:alice"}"#
    );
    let list = ListAclRequest {
        subject_filter: Some("bob"),
        resource_filter: None,
    };
    let nothing = server.root(&list, None).await;
    assert_eq!((nothing.code, nothing.body.len()), (0, 0));
    let list = ListUserRequest {
        filter: Some("ali"),
    };
    let users = server.root(&list, None).await;
    assert_eq!(
        std::str::from_utf8(&users.body).unwrap(),
        r#"[{"password":"s","userStatus":"enable","userType":"Normal","username":"alice"}]"#
    );
    let empty = server.root(
        &CreateAclRequest {
            subject: Some("User:alice"),
        },
        Some(b"{\"policies\":[]}".to_vec()),
    );
    assert_eq!(told(&empty.await), (1, "The body of acl is null"));
}

#[tokio::test]
async fn lists_of_codes_open_doors() {
    let mut config = secured();
    let access = config.access.as_mut().unwrap();
    access.open_codes = vec![RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER.0];
    access.unchecked_codes = vec![RequestCode::SEND_MESSAGE_V2.0];
    let server = Secured(Wire::with(config).await);
    let list = RemotingCommand::bare_request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    assert_eq!(server.0.namesrv(list).await.code, 0);
    server.add_user(("alice", "s")).await;
    assert_eq!(server.ask(put("t"), ("alice", "s")).await.code, 0);
    let read = RemotingCommand::request(&pull("t", 0, 0));
    assert_eq!(server.ask(read, ("alice", "s")).await.code, 16);

    let mut config = secured();
    let access = config.access.as_mut().unwrap();
    access.open_codes = vec![3001];
    access.unchecked_codes = vec![3007];
    let ServerError::Config { faults } = Server::start(config).await.unwrap_err() else {
        panic!("not a configuration error");
    };
    assert_eq!(faults.len(), 2, "{faults:?}");

    let mut config = secured();
    config.access.as_mut().unwrap().permissions = false;
    let server = Secured(Wire::with(config).await);
    server.add_user(("alice", "s")).await;
    assert_eq!(server.ask(put("t"), ("alice", "s")).await.code, 0);
    assert_eq!(server.ask(put("t"), ("alice", "x")).await.code, 16);
}

#[tokio::test]
async fn users_can_be_made_before_they_are_asked_for_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::temp();
    config.data_dir = DataDir::Path(dir.path().to_owned());
    let open = Wire::with(config.clone()).await;
    let user = br#"{"password":"s","userType":"Super"}"#.to_vec();
    let make = RemotingCommand::request(&CreateUserRequest {
        username: Some("first"),
    });
    assert_eq!(open.broker(make.with_body(user)).await.code, 0);
    // Nobody proved who they are: no secret is told.
    let list = RemotingCommand::request(&ListUserRequest { filter: None });
    for request in [list.clone(), signed(list, ("first", "s"))] {
        let reply = open.broker(request).await;
        assert_eq!(
            std::str::from_utf8(&reply.body).unwrap(),
            r#"[{"userStatus":"enable","userType":"Super","username":"first"}]"#
        );
    }
    open.server.shutdown(Duration::from_secs(10)).await.unwrap();

    config.access = Some(AccessOptions::default());
    let closed = Wire::with(config.clone()).await;
    assert_eq!(closed.server.first_user(), None, "there is one already");
    assert_eq!(closed.broker(put("t")).await.code, 16);
    assert_eq!(
        closed.broker(signed(put("t"), ("first", "s"))).await.code,
        0
    );
}

#[tokio::test]
async fn a_first_user_is_made_up_where_there_is_none() {
    let mut config = ServerConfig::temp();
    config.access = Some(AccessOptions::default());
    let wire = Wire::with(config).await;
    let made = wire.server.first_user().unwrap().clone();
    assert_eq!(made.name, "admin");
    let file = made.secret_file.unwrap();
    assert!(file.starts_with(wire.server.data_dir()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(secret.len(), 32);
    assert_eq!(
        wire.broker(signed(put("t"), ("admin", &secret))).await.code,
        0
    );
}

#[tokio::test]
async fn listening_elsewhere_takes_users_or_a_word() {
    let elsewhere = || {
        let mut config = ServerConfig::temp();
        config.host = "0.0.0.0".parse().unwrap();
        config
    };
    let error = Server::start(elsewhere()).await.unwrap_err().to_string();
    for word in ["0.0.0.0", "--allow-anonymous", "--auth"] {
        assert!(error.contains(word), "{error}");
    }
    let mut config = elsewhere();
    config.allow_anonymous = true;
    config.check().unwrap();
    let mut config = elsewhere();
    config.access = Some(AccessOptions::default());
    let server = Server::start(config).await.unwrap();
    server.shutdown(Duration::from_secs(10)).await.unwrap();
}

/// A name server alone has users of its own, made over its port.
#[tokio::test]
async fn a_name_server_alone_has_users_of_its_own() {
    let mut config = secured();
    config.role = Role::NameServer;
    let server = Secured(Wire::with(config).await);
    let list = RemotingCommand::bare_request(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    let ask = async |command, user| server.0.namesrv(signed(command, user)).await;
    let alice = ("alice", "s");
    assert_eq!(
        told(&ask(list.clone(), alice).await),
        (16, "User:alice is not found.")
    );
    let make = RemotingCommand::request(&CreateUserRequest {
        username: Some("alice"),
    });
    let made = ask(make.with_body(r#"{"password":"s"}"#), ROOT).await;
    assert_eq!(told(&made), DONE);
    assert_eq!(
        told(&ask(list.clone(), alice).await),
        (
            16,
            "User:alice has no permission to access Cluster:DefaultCluster from 127.0.0.1, no matched policies."
        )
    );
    assert_eq!(ask(list, ROOT).await.code, 0);
}

/// A broker joins a name server that asks for users and serves TLS, and is refused without either.
#[tokio::test]
async fn a_broker_registers_as_a_user_and_over_tls() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let mut config = secured();
    config.role = Role::NameServer;
    config.tls = Some(
        TlsServerConfig::from_pem(certificate.clone(), key.serialize_pem())
            .mode(TlsMode::Enforcing),
    );
    let name_server = Server::start(config).await.unwrap();

    let mut options = ConnectOptions::default();
    options.tls = Some(
        TlsConfig::new()
            .ca_pem(certificate.clone())
            .build()
            .unwrap(),
    );
    let client = Connections::new(options, Arc::new(Unsupported));
    let brokers = async || {
        let ask = RemotingCommand::bare_request(RequestCode::GET_BROKER_CLUSTER_INFO);
        let call = client.call(
            name_server.namesrv_addr(),
            signed(ask, ROOT),
            Deadline::after(TIMEOUT),
        );
        let reply = call.await.unwrap();
        let info: ClusterInfo = body::decode(&reply.body).unwrap();
        info.broker_addr_table.into_keys().collect::<Vec<_>>()
    };
    let broker = async |secret: &str, tls: bool| {
        let mut config = ServerConfig::temp();
        config.role = Role::Broker;
        config.name_servers = vec![name_server.namesrv_addr().to_owned()];
        config.name_server_credentials = Some(Credentials {
            access_key: ROOT.0.to_owned(),
            secret_key: secret.to_owned(),
            security_token: None,
        });
        config.name_server_tls = tls.then(|| TlsConfig::new().ca_pem(certificate.clone()));
        Server::start(config).await.unwrap()
    };
    let stop = async |server: Server| server.shutdown(TIMEOUT).await.unwrap();
    let good = broker(ROOT.1, true).await;
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while brokers().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "not registered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It leaves as the same user.
    stop(good).await;
    assert!(brokers().await.is_empty());
    for (secret, tls) in [("wrong", true), (ROOT.1, false)] {
        let stranger = broker(secret, tls).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(brokers().await.is_empty(), "{secret} {tls}");
        stop(stranger).await;
    }
    client.close_all().await;
    stop(name_server).await;
}
