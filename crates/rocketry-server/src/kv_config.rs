//! The name server's key-value configuration: small, in memory, written whole on each change.
//!
//! Java: `KVConfigManager`; the file is `{"configTable":{"NS":{"k":"v"}}}`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use parking_lot::RwLock;
use rocketry_store::{FileSystem, StoreError, metadata::ConfigFile};
use serde::{Deserialize, Serialize};

/// Namespace whose values the routes of ordered topics carry.
pub(crate) const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// Values by namespace and key. Java: `KVConfigSerializeWrapper`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    config_table: BTreeMap<String, BTreeMap<String, String>>,
}

/// Key-value configuration with its file.
#[derive(Debug)]
pub(crate) struct KvConfig {
    file: ConfigFile,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    changes: u64,
}

impl KvConfig {
    /// Reads `kvConfig.json` in `dir`, or its `.bak` where that is missing or damaged; without either the table is empty. What was found
    /// is added to `notes`.
    pub(crate) fn open(
        disk: &Arc<dyn FileSystem>,
        dir: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let (file, found) = ConfigFile::open(disk, dir, "kvConfig.json", notes)?;
        Ok(Self {
            file,
            state: RwLock::new(State {
                content: found.unwrap_or_default(),
                changes: 0,
            }),
        })
    }

    pub(crate) fn value(&self, namespace: &str, key: &str) -> Option<String> {
        let state = self.state.read();
        state.content.config_table.get(namespace)?.get(key).cloned()
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.state
            .read()
            .content
            .config_table
            .get(namespace)
            .cloned()
    }

    pub(crate) fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), StoreError> {
        let mut state = self.state.write();
        state
            .content
            .config_table
            .entry(namespace.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self.save(&mut state)
    }

    pub(crate) fn delete(&self, namespace: &str, key: &str) -> Result<(), StoreError> {
        let mut state = self.state.write();
        if let Some(values) = state.content.config_table.get_mut(namespace) {
            values.remove(key);
        }
        self.save(&mut state)
    }

    fn save(&self, state: &mut State) -> Result<(), StoreError> {
        state.changes += 1;
        self.file.save(state.changes, || &state.content)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rocketry_store::fs::RealFileSystem;

    use super::*;

    fn open(dir: &Path) -> KvConfig {
        let disk: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        KvConfig::open(&disk, dir, &mut Vec::new()).unwrap()
    }

    /// S-009 for the table: values survive, deleted ones do not.
    #[test]
    fn s009_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("namesrv");
        let kv = open(&dir);
        assert_eq!(kv.value("ns", "k"), None);
        kv.put("ns", "k", "v").unwrap();
        kv.put("ns", "gone", "x").unwrap();
        kv.delete("ns", "gone").unwrap();
        let text = fs::read_to_string(dir.join("kvConfig.json")).unwrap();
        let text: String = text.split_whitespace().collect();
        assert_eq!(text, r#"{"configTable":{"ns":{"k":"v"}}}"#);
        let again = open(&dir);
        assert_eq!(again.value("ns", "k").as_deref(), Some("v"));
        assert_eq!(again.value("ns", "gone"), None);
        assert_eq!(again.namespace("other"), None);
    }

    /// S-102: a write that a crash stopped between its two renames leaves the version before it, and a damaged file costs one change.
    #[test]
    fn s102_the_version_before_is_used_where_the_file_is_missing_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kvConfig.json");
        let kv = open(dir.path());
        kv.put("ns", "old", "1").unwrap();
        kv.put("ns", "new", "2").unwrap();
        fs::remove_file(&file).unwrap();
        let kv = open(dir.path());
        assert_eq!(kv.value("ns", "old").as_deref(), Some("1"));
        kv.put("ns", "new", "2").unwrap();

        kv.put("ns", "newer", "3").unwrap();
        fs::write(&file, "{\"configTable\":").unwrap();
        let kv = open(dir.path());
        assert_eq!(kv.value("ns", "new").as_deref(), Some("2"));
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "{\"configTable\":",
            "nothing is written before the next change"
        );
        kv.put("ns", "newest", "4").unwrap();
        let damaged = dir.path().join("kvConfig.json.damaged");
        assert_eq!(fs::read_to_string(damaged).unwrap(), "{\"configTable\":");
        assert_eq!(open(dir.path()).value("ns", "newest").as_deref(), Some("4"));
    }
}
