use super::*;

fn topic(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 4,
        write_queue_nums: 4,
        perm: 6,
        ..TopicConfig::default()
    }
}
fn version(counter: i64) -> DataVersion {
    DataVersion {
        counter,
        ..DataVersion::default()
    }
}
fn broker<'a>(cluster: &'a str, name: &'a str, addr: &'a str, id: i64) -> Registration<'a> {
    Registration {
        cluster,
        broker_name: name,
        broker_addr: addr,
        broker_id: id,
        ha_server_addr: "h:10912",
        enable_acting_master: false,
        zone_name: None,
        heartbeat_timeout_ms: None,
        data_version: version(1),
        connection_id: Some(1),
    }
}

/// S-001.
#[test]
fn s001_a_full_registration_makes_every_topic_routable() {
    let ns = NameServer::default();
    let topics = [topic("T"), topic("U")];
    ns.register(&broker("C", "b", "a:1", 0), topics.iter(), 0)
        .unwrap();
    for name in ["T", "U"] {
        let route = ns.route(name).unwrap();
        assert_eq!(route.broker_datas.len(), 1);
        assert_eq!(route.broker_datas[0].broker_addrs[&0], "a:1");
        let queue = &route.queue_datas[0];
        assert_eq!(
            (queue.read_queue_nums, queue.write_queue_nums, queue.perm),
            (4, 4, 6)
        );
    }
    assert!(ns.route("V").is_none());
}

/// S-002.
#[test]
fn s002_an_incremental_registration_of_an_unknown_broker_is_refused() {
    let ns = NameServer::default();
    let one = [topic("T")];
    let registration = broker("C", "b", "a:1", 0);
    assert_eq!(
        ns.register(&registration, one.iter(), 0),
        Err(RegisterRefused::Incremental)
    );
    assert_eq!(ns.cluster_info(), ClusterInfo::default());
    ns.register(&registration, [topic("A"), topic("B")].iter(), 0)
        .unwrap();
    let later = Registration {
        data_version: version(2),
        ..registration
    };
    ns.register(&later, one.iter(), 0).unwrap();
    assert!(ns.route("T").is_some() && ns.route("A").is_some());
}

#[test]
fn a_broker_that_changes_its_cluster_leaves_the_old_one() {
    let ns = NameServer::default();
    let topics = [topic("T"), topic("U")];
    for name in ["b", "c"] {
        ns.register(&broker("C", name, name, 0), topics.iter(), 0)
            .unwrap();
    }
    for name in ["b", "c"] {
        ns.register(&broker("D", name, name, 0), topics.iter(), 100_000)
            .unwrap();
    }
    let info = ns.cluster_info();
    assert_eq!(
        info.cluster_addr_table.into_iter().collect::<Vec<_>>(),
        [("D".to_owned(), vec!["b".to_owned(), "c".to_owned()])]
    );
    assert!(ns.topics_of_cluster("C").is_empty());
    assert_eq!(ns.expire(130_000), 0);
    assert_eq!(ns.route("T").unwrap().queue_datas.len(), 2);
    ns.unregister("C", "b", "b");
    ns.unregister("D", "c", "c");
    assert_eq!(ns.cluster_info(), ClusterInfo::default());
}

/// S-004.
#[test]
fn s004_the_data_version_query_compares_and_renews() {
    let ns = NameServer::default();
    assert_eq!(
        ns.query_data_version("C", "a:1", &version(1), 0),
        (true, None)
    );
    ns.register(&broker("C", "b", "a:1", 0), [].iter(), 0)
        .unwrap();
    assert_eq!(
        ns.query_data_version("C", "a:1", &version(1), 100_000),
        (false, Some(version(1)))
    );
    assert!(ns.query_data_version("C", "a:1", &version(2), 100_000).0);
    assert_eq!(ns.expire(220_000), 0);
    assert_eq!(ns.expire(220_001), 1);
}

/// S-005: silence, a timeout of its own, and a closed connection.
#[test]
fn s005_silent_and_disconnected_brokers_disappear() {
    let ns = NameServer::default();
    let topics = [topic("T"), topic("U")];
    let own_timeout = Registration {
        heartbeat_timeout_ms: Some(1000),
        ..broker("C", "b", "a:1", 0)
    };
    ns.register(&own_timeout, topics.iter(), 0).unwrap();
    ns.heartbeat("C", "a:1", 500);
    assert_eq!(ns.expire(1500), 0);
    assert_eq!(ns.expire(1501), 1);
    assert!(ns.route("T").is_none() && ns.all_topics().is_empty());
    assert!(ns.cluster_info().cluster_addr_table.is_empty());

    ns.register(&broker("C", "b", "a:1", 0), topics.iter(), 0)
        .unwrap();
    assert!(!ns.connection_closed(2));
    assert!(ns.connection_closed(1));
    assert!(ns.route("T").is_none());
}

#[test]
fn the_broker_of_this_process_never_expires() {
    let ns = NameServer::default();
    let local = Registration {
        connection_id: None,
        ..broker("C", "b", "a:1", 0)
    };
    ns.register(&local, [topic("T"), topic("U")].iter(), 0)
        .unwrap();
    assert_eq!(ns.expire(i64::MAX), 0);
    let before = ns.cluster_info();
    let topics = [topic("T"), topic("U")];
    for cluster in ["C", "D"] {
        let claim = |name, addr, id| Registration {
            enable_acting_master: true,
            zone_name: Some("z"),
            ..broker(cluster, name, addr, id)
        };
        assert_eq!(
            ns.register(&claim("b", "a:2", 0), topics.iter(), 0),
            Err(RegisterRefused::OurName("a:1".to_owned()))
        );
        for (name, id) in [("b", 0), ("b", 1), ("c", 0)] {
            assert_eq!(
                ns.register(&claim(name, "a:1", id), topics.iter(), 0),
                Err(RegisterRefused::OurAddress)
            );
            ns.unregister(cluster, name, "a:1");
        }
        assert!(!ns.connection_closed(1));
        assert_eq!(ns.cluster_info(), before);

        let slave = claim("b", "a:2", 1);
        ns.register(&slave, [].iter(), 0).unwrap();
        assert_eq!(ns.member_group("b").len(), 2);
        assert!(ns.connection_closed(1));
        assert_eq!(ns.cluster_info(), before);
    }
    assert_eq!(ns.all_topics(), ["T", "U"]);
    ns.set_topic("b", &topic("V"), 6);
    assert!(ns.route("V").is_some());
    ns.remove_topic_of("b", "V");
    assert!(ns.route("V").is_none());
}

/// S-006.
#[test]
fn s006_unregistering_empties_topics_and_clusters() {
    let ns = NameServer::default();
    ns.register(
        &broker("C", "b", "a:1", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    ns.register(
        &broker("C", "c", "a:2", 0),
        [topic("T"), topic("V")].iter(),
        0,
    )
    .unwrap();
    ns.unregister("C", "b", "a:1");
    assert_eq!(ns.all_topics(), ["T", "V"]);
    assert_eq!(ns.route("T").unwrap().queue_datas.len(), 1);
    ns.unregister("C", "c", "a:2");
    assert!(ns.all_topics().is_empty());
    assert_eq!(ns.system_topics(), (Vec::new(), None));
}

/// S-011.
#[test]
fn s011_write_perm_is_wiped_and_restored() {
    let ns = NameServer::default();
    ns.register(
        &broker("C", "b", "a:1", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    assert_eq!(ns.set_write_perm("b", false), 2);
    assert_eq!(ns.route("T").unwrap().queue_datas[0].perm, 4);
    assert_eq!(ns.set_write_perm("b", true), 2);
    assert_eq!(ns.route("U").unwrap().queue_datas[0].perm, 6);
    assert_eq!(ns.set_write_perm("other", false), 0);
}

/// S-012.
#[test]
fn s012_clusters_are_kept_apart() {
    let ns = NameServer::default();
    ns.register(
        &broker("C", "b", "a:1", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    ns.register(
        &broker("D", "d", "a:2", 0),
        [topic("T"), topic("V")].iter(),
        0,
    )
    .unwrap();
    let info = ns.cluster_info();
    assert_eq!(info.cluster_addr_table["C"], ["b"]);
    assert_eq!(info.broker_addr_table["d"].cluster, "D");
    assert_eq!(ns.topics_of_cluster("C"), ["T", "U"]);
    assert_eq!(ns.topics_of_cluster("D"), ["T", "V"]);
    assert!(ns.topics_of_cluster("E").is_empty());
    ns.delete_topic("T", Some("C"));
    assert_eq!(ns.route("T").unwrap().queue_datas[0].broker_name, "d");
    ns.delete_topic("T", None);
    assert!(ns.route("T").is_none());
}

#[test]
fn a_slave_is_told_its_master_and_a_promoted_slave_keeps_one_id() {
    let ns = NameServer::default();
    ns.register(
        &broker("C", "b", "a:1", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    let told = ns
        .register(&broker("C", "b", "a:2", 1), [].iter(), 0)
        .unwrap();
    assert_eq!(told.master_addr.as_deref(), Some("a:1"));
    assert_eq!(told.ha_server_addr.as_deref(), Some("h:10912"));
    ns.unregister("C", "b", "a:1");
    ns.register(
        &broker("C", "b", "a:2", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    assert_eq!(
        ns.member_group("b").into_iter().collect::<Vec<_>>(),
        [(0, "a:2".to_owned())]
    );
}

#[test]
fn an_older_master_with_a_larger_state_version_stays() {
    let ns = NameServer::default();
    let elected = Registration {
        data_version: DataVersion {
            state_version: 2,
            ..version(1)
        },
        ..broker("C", "b", "a:1", 0)
    };
    ns.register(&elected, [topic("T"), topic("U")].iter(), 0)
        .unwrap();
    ns.register(
        &broker("C", "b", "a:2", 0),
        [topic("T"), topic("U")].iter(),
        0,
    )
    .unwrap();
    assert_eq!(ns.member_group("b")[&0], "a:1");

    ns.register(&broker("C", "b", "a:2", 1), [].iter(), 0)
        .unwrap();
    ns.register(&broker("C", "b", "a:2", 0), [].iter(), 0)
        .unwrap();
    assert_eq!(ns.member_group("b").len(), 1);
    assert_eq!(
        ns.query_data_version("C", "a:2", &version(1), 0),
        (true, None)
    );
}

#[test]
fn a_topic_can_be_registered_for_known_brokers_only() {
    let ns = NameServer::default();
    ns.register(&broker("C", "b", "a:1", 0), [].iter(), 0)
        .unwrap();
    let data = |name: &str| QueueData {
        broker_name: name.to_owned(),
        perm: 6,
        read_queue_nums: 1,
        write_queue_nums: 1,
        ..QueueData::default()
    };
    ns.register_topic("T", &[data("b"), data("x")]);
    assert_eq!(ns.route("T").unwrap().queue_datas.len(), 1);
    ns.register_topic("U", &[data("x")]);
    assert!(ns.route("U").is_none());
}
