//! What the tests of this crate share: golden stores, copies of directories, messages.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod archive;
pub(crate) mod golden;
pub(crate) mod real;
pub(crate) mod sim;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use rocketry_protocol::record::Record;
use rocketry_store::{NewMessage, Reader, Recovery, Store, StoreOptions, Writer};

/// The time of day in tests, ms.
pub(crate) const NOW_MS: i64 = 1_795_400_000_000;

/// Small files, so that few messages fill several.
pub(crate) fn small() -> StoreOptions {
    StoreOptions {
        log_file_bytes: 4096,
        queue_file_bytes: 200,
        index_slots: 20,
        index_units: 50,
        ..StoreOptions::default()
    }
}

/// Opens a store that must open.
pub(crate) fn open(dir: &Path, options: &StoreOptions) -> (Writer, Reader, Recovery) {
    Store::open(dir, options.clone(), NOW_MS).expect("the store opens")
}

/// A plain message.
pub(crate) fn message<'a>(topic: &'a str, queue_id: i32, body: &'a [u8]) -> NewMessage<'a> {
    NewMessage {
        topic,
        queue_id,
        flag: 7,
        sys_flag: 0,
        born_ms: NOW_MS - 5,
        born_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_001)),
        store_host: SocketAddr::from((Ipv4Addr::LOCALHOST, 10_911)),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        properties: b"TAGS\x01a\x02KEYS\x01k1 k2\x02UNIQ_KEY\x01U1\x02",
        body,
    }
}

/// The records of a reply, each whole.
pub(crate) fn records(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, len) = (!rest.is_empty()).then(|| Record::parse(rest).expect("records"))?;
        let (record, later) = rest.split_at(len);
        rest = later;
        Some(record)
    })
}

/// Copies a directory, keeping holes.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            archive::write_sparse(&target, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// Every file below `dir` with its content, by path relative to it.
pub(crate) fn snapshot(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, found: &mut std::collections::BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).expect("below the root");
                found.insert(
                    name.to_string_lossy().into_owned(),
                    fs::read(&path).expect("a readable file"),
                );
            }
        }
    }
    let mut found = std::collections::BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

/// Fails naming the files that differ between two snapshots.
pub(crate) fn assert_same(
    before: &std::collections::BTreeMap<String, Vec<u8>>,
    after: &std::collections::BTreeMap<String, Vec<u8>>,
) {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ: Vec<_> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .collect();
    assert!(differ.is_empty(), "these files differ: {differ:?}");
}
