//! Messages as they are stored: ids, keys, compression, batches, priority, the queue of a sharding key.

use std::fmt::Write as _;

use rocketry::{Compression, Message, MessageQueue, Selection, Topic, TopicOptions, by_hash};

use super::{by_id, dump, dump_one, is_at, mqadmin_prints, on, producer, same};
use crate::Result;
use crate::interop::cases::Case;
use crate::interop::world::{Target, World};

const BOTH: [Target; 2] = [Target::Apache, Target::Apache4];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    on(&mut cases, &BOTH, "result", |w, t| Box::pin(result(w, t)));
    on(&mut cases, &BOTH, "batch", |w, t| Box::pin(batch(w, t)));
    on(&mut cases, &BOTH, "compression", |w, t| {
        Box::pin(compression(w, t))
    });
    on(&mut cases, &[Target::Apache], "three-keys", |w, t| {
        Box::pin(three_keys(w, t))
    });
    on(&mut cases, &[Target::Apache], "priority", |w, t| {
        Box::pin(priority(w, t))
    });
    cases.push(Case::new("producer/hash-selector", |w| {
        Box::pin(hash_selector(w))
    }));
    cases
}

/// P-061: status, message id, offset message id, queue and offset are those that a consumer sees; so are tag, keys, properties, flag and body.
async fn result(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let message = Message::new("p061", "Grüße, 世界")
        .tag("created")
        .key("k-1")
        .property("region", "eu")
        .with_flag(7);
    let result = producer.send(message).await?;
    same("status", &"SEND_OK", &result.status.as_str())?;
    let found = dump_one(world, target, "p061").await?;
    is_at(&result, &found)?;
    same("tag", &"created", &found.text("tags"))?;
    same("keys", &"k-1", &found.text("keys"))?;
    same("property", &Some("eu"), &found.property("region"))?;
    same(
        "unique key",
        &Some(result.msg_id.as_str()),
        &found.property("UNIQ_KEY"),
    )?;
    same("flag", &7, &found.number("flag"))?;
    same("body", &"Grüße, 世界".as_bytes(), &found.body()?)
}

/// P-095: a batch of ten is one request; its messages lie one behind the other, each with its own key, tag and id.
async fn batch(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let messages: Vec<_> = (0..10)
        .map(|n| {
            Message::new("p095", format!("body {n}"))
                .key(format!("key-{n}"))
                .tag(format!("tag-{n}"))
        })
        .collect();
    let result = producer.send_batch(messages).await?;
    let ids: Vec<_> = result.msg_id.split(',').collect();
    let places: Vec<_> = result.offset_msg_id.split(',').collect();
    same("ids", &(10, 10), &(ids.len(), places.len()))?;
    let mut found = dump(world, target, "p095", 10, super::SOON).await?;
    same("messages", &10, &found.len())?;
    found.sort_by_key(|message| message.number("queue_offset"));
    for (n, ((message, id), place)) in (0_i64..).zip(found.iter().zip(ids).zip(places)) {
        // 4.9 adds the properties of the batch to those of each message, and the batch has an id of its own, which 5.x wants: as with
        // Java's own client of 5.5.0, its consumers see the batch's id.
        if target != Target::Apache4 {
            same("id", &id, &message.text("msg_id"))?;
        }
        let queue_id = i64::from(result.queue.queue_id);
        let offset = result.queue_offset + n;
        same("place", &place, &message.text("offset_msg_id"))?;
        same("queue", &queue_id, &message.number("queue_id"))?;
        same("offset", &offset, &message.number("queue_offset"))?;
        same("key", &format!("key-{n}"), &message.text("keys"))?;
        same("tag", &format!("tag-{n}"), &message.text("tags"))?;
        same("sys flag", &0, &message.number("sys_flag"))?;
        same("body", &format!("body {n}").into_bytes(), &message.body()?)?;
    }
    Ok(())
}

/// P-074, P-075: bodies below 4096 bytes and bodies that do not shrink are stored plain, others as the codec's sys flag says; Java's
/// consumer decompresses all of them.
async fn compression(world: &mut World, target: Target) -> Result {
    let text = |bytes: usize| b"RocketMQ ".iter().copied().cycle().take(bytes).collect();
    let mut random = vec![0; 8192];
    fastrand::Rng::with_seed(9876).fill(&mut random);
    let cases = [
        (Compression::Zlib, text(4095), 0),
        (Compression::Zlib, text(4096), 769),
        (Compression::Lz4, text(20_000), 257),
        (Compression::Zstd, text(20_000), 513),
        (Compression::Zlib, random, 0),
    ];
    let client = world.client(target).await?;
    let mut sent = Vec::new();
    for (codec, body, flag) in cases {
        let producer = client.producer("compression").compression(codec).await?;
        let result = producer.send(Message::new("p074", body.clone())).await?;
        sent.push((result, codec, body, flag));
    }
    let found = by_id(dump(world, target, "p074", sent.len(), super::SOON).await?);
    for (result, codec, body, flag) in sent {
        let what = format!("{codec:?}, {} bytes", body.len());
        let message = found
            .get(&result.msg_id)
            .ok_or_else(|| format!("{what}: Java does not read it"))?;
        is_at(&result, message).map_err(|error| format!("{what}: {error}"))?;
        let read_flag = match target {
            // Java's client of 5.5.0 clears the lowest bit of what it has decompressed.
            Target::Apache => flag & !1,
            _ => flag,
        };
        same(
            &format!("{what}: sys flag"),
            &read_flag,
            &message.number("sys_flag"),
        )?;
        let stored = usize::try_from(message.number("store_bytes"))?;
        same(
            &format!("{what}: stored in {stored} bytes, compressed"),
            &(flag != 0),
            &(stored < body.len()),
        )?;
        if body != message.body()? {
            return Err(format!("{what}: Java reads another body").into());
        }
    }
    Ok(())
}

/// P-029: the broker finds a message by each of its three keys.
async fn three_keys(world: &mut World, target: Target) -> Result {
    let producer = producer(world, target).await?;
    let message = Message::new("p029", "three keys").keys(["order-1", "customer-7", "eu"]);
    let result = producer.send(message).await?;
    let ns = world.namesrv(target).await?;
    for key in ["order-1", "customer-7", "eu"] {
        let args = format!("queryMsgByKey -n {ns} -t p029 -k {key}");
        mqadmin_prints(world, &args, &[&result.msg_id]).await?;
    }
    Ok(())
}

/// P-030: a 5.5 broker stores a message of priority p of a priority topic with n queues in queue min(p, n - 1).
async fn priority(world: &mut World, target: Target) -> Result {
    let client = world.client(target).await?;
    let options = TopicOptions {
        read_queues: 4,
        write_queues: 4,
        attributes: Some("+message.type=PRIORITY".to_owned()),
        ..TopicOptions::default()
    };
    client.admin().create_topic("p030", &options).await?;
    let producer = client.producer("priority").await?;
    let mut sent = Vec::new();
    for (priority, queue) in [(3, 3), (0, 0), (9, 3), (1, 1)] {
        let message = Message::new("p030", format!("{priority}")).priority(priority);
        let result = producer.send(message).await?;
        same("queue of the result", &queue, &result.queue.queue_id)?;
        sent.push((result, priority));
    }
    let found = by_id(dump(world, target, "p030", sent.len(), super::SOON).await?);
    for (result, priority) in sent {
        let message = found.get(&result.msg_id).ok_or("Java does not read it")?;
        is_at(&result, message)?;
        let stored = message.property("_SYS_MSG_PRIORITY_");
        same("priority", &Some(priority.to_string().as_str()), &stored)?;
    }
    Ok(())
}

/// P-092: for 1000 random keys the hash selector picks the queue that Java's picks.
async fn hash_selector(world: &mut World) -> Result {
    let message = Message::new("T", "x");
    let mut random = fastrand::Rng::with_seed(92);
    let mut keys = Vec::new();
    for _ in 0..1000 {
        let length = random.usize(1..24);
        let alphabet: Vec<char> = "abcXYZ0189-_.äß世界🚀".chars().collect();
        keys.push(
            (0..length)
                .filter_map(|_| random.choice(&alphabet))
                .collect::<String>(),
        );
    }
    for queues in [1, 3, 4, 5, 16] {
        let mut joined = String::new();
        for key in &keys {
            let _ = write!(joined, "{key} ");
        }
        let options = [
            ("queues", queues.to_string()),
            ("keys", joined.trim().to_owned()),
        ];
        let options = options
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let java = world.driver()?.ask("hash", &options).await?;
        let java: Vec<&str> = java.split(' ').collect();
        same("answers", &keys.len(), &java.len())?;
        let list: Vec<_> = (0..queues)
            .map(|queue_id| {
                Ok(MessageQueue {
                    topic: Topic::new("T")?,
                    broker_name: "b".into(),
                    queue_id,
                })
            })
            .collect::<Result<_>>()?;
        for (key, java) in keys.iter().zip(java) {
            let Selection::Index(ours) = by_hash(key)(&list, &message) else {
                return Err(format!("no queue for `{key}`").into());
            };
            let what = format!("queue of `{key}` among {queues}");
            same(&what, &java.parse::<usize>()?, &ours)?;
        }
    }
    Ok(())
}
