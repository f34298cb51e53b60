//! The golden stores: directories written by Apache RocketMQ 5.5.0, with what must be readable from them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// A manifest; see the vectors' README.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub broker_conf: BTreeMap<String, String>,
    pub commit_log: CommitLog,
    pub queues: Vec<Queue>,
    pub topics: BTreeMap<String, serde_json::Value>,
    pub groups: BTreeMap<String, serde_json::Value>,
    pub consumer_offsets: BTreeMap<String, BTreeMap<String, i64>>,
    pub delay_offsets: BTreeMap<String, i64>,
    pub messages: Vec<Message>,
    pub abort_file_present: bool,
    #[serde(default)]
    pub mutations: Vec<Mutation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mutation {
    pub kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitLog {
    pub file_size: u64,
    pub min_offset: i64,
    pub recovered_max_offset: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the manifest's names")]
pub(crate) struct Queue {
    pub topic: String,
    pub queue_id: i32,
    pub min: i64,
    pub max: i64,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inner {
    pub keys: Option<String>,
    pub tags: Option<String>,
    pub plain_body_len: usize,
    pub plain_body_sha256: String,
    pub queue_offset: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub commit_log_offset: i64,
    pub size: usize,
    pub version: i32,
    pub flag: i32,
    pub sys_flag: i32,
    #[serde(rename = "bodyCRC")]
    pub body_crc: i32,
    pub body_len: usize,
    pub body_sha256: String,
    /// Absent for an inner batch.
    pub plain_body_len: Option<usize>,
    pub plain_body_sha256: Option<String>,
    /// The messages of an inner batch.
    #[serde(default)]
    pub inner: Vec<Inner>,
    pub born_timestamp: i64,
    pub store_timestamp: i64,
    pub born_host: String,
    pub store_host: String,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: i64,
    pub offset_msg_id: String,
    pub tags_code: i64,
    pub properties: BTreeMap<String, String>,
    pub in_queue: bool,
}

/// An unpacked golden store.
#[derive(Debug)]
pub(crate) struct Golden {
    pub manifest: Manifest,
    /// Removed with this value.
    pub root: tempfile::TempDir,
}

impl Golden {
    /// The data directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }
}

/// Unpacks `name` from the folder in `ROCKETRY_VECTORS`, else from the repository's copy. `None`, and a line on stderr, when it is
/// not there.
pub(crate) fn golden(name: &str) -> Option<Golden> {
    let folder = std::env::var_os("ROCKETRY_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let archive = folder.join(format!("{name}.tar.zst"));
    let manifest = folder.join(format!("{name}.manifest.json"));
    for file in [&archive, &manifest] {
        if !file.exists() {
            eprintln!("skipped: {} is not there", file.display());
            return None;
        }
    }
    let text = std::fs::read(&manifest).expect("a readable manifest");
    let root = tempfile::tempdir().expect("a temporary directory");
    super::archive::unpack(&archive, root.path()).expect("an archive that unpacks");
    Some(Golden {
        manifest: serde_json::from_slice(&text).expect("a manifest as the README says"),
        root,
    })
}
