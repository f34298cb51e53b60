//! Administration of groups, brokers and their settings.

use rocketry::{
    Brokers, Client, Error, ErrorKind, GroupChange, Message, MessageQueue, ResetTo, ResponseCode,
    SubscriptionGroupConfig, TopicChange, TopicOptions,
};
use rocketry_server::{Server, ServerConfig};

use tokio::time::timeout;

use crate::{PATIENCE, start};

/// Creates a topic of two queues, with `count` messages in the second.
async fn topic_with(client: &Client, topic: &str, count: usize) -> Vec<MessageQueue> {
    let options = TopicOptions {
        read_queues: 2,
        write_queues: 2,
        ..TopicOptions::default()
    };
    client.admin().create_topic(topic, &options).await.unwrap();
    let queues = client.admin().publish_queues(topic).await.unwrap();
    let producer = client.producer("PG").await.unwrap();
    for n in 0..count {
        let message = Message::new(topic, n.to_string());
        let send = producer.send(message).queue(queues[1].clone());
        send.await.unwrap();
    }
    queues
}

/// S-073 for the progress of a group: what was committed and what was counted agree.
#[tokio::test]
async fn the_progress_of_a_group_is_what_it_committed() {
    let (_server, client) = start().await;
    let admin = client.admin();
    let queues = topic_with(&client, "Orders", 10).await;
    let none = admin.group_progress("billing", None).await.unwrap();
    assert!(none.queues.is_empty());
    assert!(admin.groups_of_topic("Orders").await.unwrap().is_empty());

    let group = SubscriptionGroupConfig::new("billing");
    admin.create_group(&group, &Brokers::All).await.unwrap();
    admin
        .update_consumer_offset("billing", &queues[1], 7)
        .await
        .unwrap();
    let progress = admin.group_progress("billing", None).await.unwrap();
    assert_eq!(progress.lag(), 3);
    let queue = &progress.queues[1];
    assert_eq!(queue.queue, queues[1]);
    assert_eq!((queue.broker_offset, queue.consumer_offset), (10, 7));
    assert_eq!((queue.lag(), queue.in_flight()), (3, 0));
    assert!(queue.last_consumed_ms > 1_700_000_000_000);
    assert_eq!(progress.queues[0].last_consumed_ms, 0);
    let of_other = admin.group_progress("billing", Some("Orders")).await;
    assert_eq!(of_other.unwrap().queues, progress.queues);
    assert_eq!(admin.groups_of_topic("Orders").await.unwrap(), ["billing"]);
}

/// S-064 for a group without clients: the new offsets are told, and committed.
#[tokio::test]
async fn a_group_goes_on_where_it_is_told_to() {
    let (_server, client) = start().await;
    let admin = client.admin();
    let queues = topic_with(&client, "Orders", 10).await;
    let error = admin
        .reset_offsets("billing", "Orders", ResetTo::First)
        .await
        .unwrap_err();
    assert_eq!(
        error.response_code(),
        Some(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST)
    );
    assert!(
        error.to_string().contains("rocketry group create billing"),
        "{error}"
    );
    let group = SubscriptionGroupConfig::new("billing");
    admin.create_group(&group, &Brokers::All).await.unwrap();

    for (to, offset) in [
        (ResetTo::Last, 10),
        (ResetTo::First, 0),
        (ResetTo::Time(1), 0),
    ] {
        let reset = admin.reset_offsets("billing", "Orders", to).await.unwrap();
        assert_eq!(
            reset,
            [(queues[0].clone(), 0), (queues[1].clone(), offset)],
            "{to:?}"
        );
        let progress = admin.group_progress("billing", None).await.unwrap();
        assert_eq!(progress.lag(), 10 - offset, "{to:?}");
    }
    let error = admin
        .reset_offsets("billing", "Missing", ResetTo::Last)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
}

/// S-076: offsets go with the group, or stay.
#[tokio::test]
async fn a_deleted_group_takes_its_offsets_along_if_told_to() {
    let (_server, client) = start().await;
    let admin = client.admin();
    let queues = topic_with(&client, "Orders", 4).await;
    let group = SubscriptionGroupConfig {
        retry_max_times: 3,
        ..SubscriptionGroupConfig::new("billing")
    };
    let addresses = admin.create_group(&group, &Brokers::All).await.unwrap();
    assert_eq!(addresses.len(), 1);
    let listed = admin.groups().await.unwrap();
    let listed = listed.iter().find(|one| one.group_name == "billing");
    assert_eq!(listed.unwrap().retry_max_times, 3);

    for (offsets, left) in [(false, Some(2)), (true, None)] {
        admin.create_group(&group, &Brokers::All).await.unwrap();
        admin
            .update_consumer_offset("billing", &queues[1], 2)
            .await
            .unwrap();
        admin.delete_group("billing", None, offsets).await.unwrap();
        let listed = admin.groups().await.unwrap();
        assert!(listed.iter().all(|one| one.group_name != "billing"));
        let offset = admin.consumer_offset("billing", &queues[1]).await;
        assert_eq!(offset.unwrap(), left, "with offsets: {offsets}");
    }
    let error = admin.delete_group("a b", None, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// Each broker keeps its own settings, and a name is wrapped once.
#[tokio::test]
async fn a_group_is_changed_in_part() {
    let (server, _) = start().await;
    let mut config = ServerConfig::temp();
    config.broker_name = "broker-b".to_owned();
    config.name_servers = vec![server.namesrv_addr().to_string()];
    let second = Server::start(config).await.unwrap();
    let connect = Client::connect(server.namesrv_addr());
    let client = connect.namespace("one").await.unwrap();
    let admin = client.admin();
    assert_eq!(admin.group("billing").await.unwrap(), None);
    let change = GroupChange {
        retry_max_times: Some(3),
        ..GroupChange::default()
    };
    let there = Brokers::Broker("broker-b".to_owned());
    let updates = admin.update_group("billing", &change, &there).await;
    assert!(updates.unwrap()[0].is_new);
    let group = admin.group("billing").await.unwrap().unwrap();
    assert_eq!(group.group_name, "one%billing");
    assert_eq!(group.retry_max_times, 3);

    let change = GroupChange {
        consume_enable: Some(false),
        ..GroupChange::default()
    };
    let updates = admin.update_group("billing", &change, &Brokers::All).await;
    let updates = updates.unwrap();
    let addresses = [&server, &second].map(|server| server.broker_addr().to_string());
    let updates = updates
        .into_iter()
        .map(|update| (update.address, update.is_new));
    let [here, there] = addresses;
    assert_eq!(updates.collect::<Vec<_>>(), [(here, true), (there, false)]);
    // The first broker's: nothing of the second's.
    let group = admin.group("billing").await.unwrap().unwrap();
    assert_eq!((group.consume_enable, group.retry_max_times), (false, 16));
}

#[tokio::test]
async fn clients_of_groups_are_told() {
    let (server, client) = start().await;
    let admin = client.admin();
    assert_eq!(admin.group_clients("billing").await.unwrap(), None);
    let producers = admin.producer_clients("PG").await.unwrap();
    assert!(producers.connection_set.is_empty());

    // A client tells of itself at once where it connects.
    let other = Client::connect(server.namesrv_addr()).await.unwrap();
    let producer = other.producer("PG").await.unwrap();
    producer.send(Message::new("Orders", "x")).await.unwrap();
    let connections = timeout(PATIENCE, async {
        loop {
            let found = admin.producer_clients("PG").await.unwrap();
            if !found.connection_set.is_empty() {
                return found.connection_set;
            }
        }
    });
    let connections = connections.await.unwrap();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].language.as_deref(), Some("RUST"));
}

/// S-069 for a topic that is changed: what is not named stays.
#[tokio::test]
async fn a_topic_is_changed_in_part() {
    let (server, client) = start().await;
    let admin = client.admin();
    topic_with(&client, "Orders", 0).await;
    let change = TopicChange {
        perm: Some(4),
        ..TopicChange::default()
    };
    let changed = admin
        .update_topic("Orders", &change, &Brokers::All)
        .await
        .unwrap();
    assert_eq!(changed, [server.broker_addr()]);
    let change = TopicChange {
        read_queues: Some(5),
        ..TopicChange::default()
    };
    let here = Brokers::Broker(server.broker_addr().to_owned());
    admin.update_topic("Orders", &change, &here).await.unwrap();
    let route = admin.topic_route("Orders").await.unwrap();
    let queues = &route.queue_datas[0];
    assert_eq!(
        (queues.perm, queues.read_queue_nums, queues.write_queue_nums),
        (4, 5, 2)
    );

    let elsewhere = Brokers::Cluster("other".to_owned());
    let error = admin
        .update_topic("Orders", &change, &elsewhere)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = admin
        .update_topic("Missing", &change, &Brokers::All)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    let error = admin.delete_topic_of_cluster("Orders", "other").await;
    assert_eq!(error.map_err(|e: Error| e.kind()), Err(ErrorKind::NotFound));
    admin
        .delete_topic_of_cluster("Orders", "DefaultCluster")
        .await
        .unwrap();
    assert!(!admin.topics().await.unwrap().contains(&"Orders".to_owned()));
}

/// S-075: settings are read back as they were set, and those that are fixed are refused.
#[tokio::test]
async fn settings_of_a_broker_are_read_and_changed() {
    let (server, client) = start().await;
    let admin = client.admin();
    let address = &server.broker_addr().to_owned();
    let brokers = admin.brokers(&Brokers::All).await.unwrap();
    assert_eq!(
        (&brokers[0].address, &*brokers[0].name, brokers[0].id),
        (address, "broker-a", 0)
    );

    let before = admin.broker_config(address).await.unwrap();
    assert_eq!(before["brokerPermission"], "6");
    assert_eq!(before["brokerName"], "broker-a");
    let setting = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    admin
        .update_broker_config(address, &setting("brokerPermission", "4"))
        .await
        .unwrap();
    let after = admin.broker_config(address).await.unwrap();
    assert_eq!(after["brokerPermission"], "4");
    let error = admin
        .update_broker_config(address, &setting("brokerConfigPath", "/tmp/x"))
        .await
        .unwrap_err();
    assert_eq!(error.response_code(), Some(ResponseCode::NO_PERMISSION));
    let error = admin
        .update_broker_config(address, &setting("a b", "1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
