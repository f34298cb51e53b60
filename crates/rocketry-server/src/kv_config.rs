//! The name server's key-value configuration: small, in memory, written whole on each change.
//!
//! Java: `KVConfigManager`; the file is `{"configTable":{"NS":{"k":"v"}}}`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;

/// Namespace whose values the routes of ordered topics carry.
pub(crate) const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// Key-value configuration with its file.
#[derive(Debug)]
pub(crate) struct KvConfig {
    file: PathBuf,
    table: RwLock<Table>,
}

impl KvConfig {
    /// Reads the file; a missing one is an empty table, a damaged one is an error that leaves it alone.
    pub(crate) fn open(file: PathBuf) -> io::Result<Self> {
        let table = match fs::read(&file) {
            Ok(text) => parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Table::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            file,
            table: RwLock::new(table),
        })
    }

    pub(crate) fn value(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.table.read().get(namespace).cloned()
    }

    pub(crate) fn put(&self, namespace: &str, key: &str, value: &str) -> io::Result<()> {
        let mut table = self.table.write();
        table
            .entry(namespace.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        write(&self.file, &table)
    }

    pub(crate) fn delete(&self, namespace: &str, key: &str) -> io::Result<()> {
        let mut table = self.table.write();
        if let Some(values) = table.get_mut(namespace) {
            values.remove(key);
        }
        write(&self.file, &table)
    }
}

fn parse(text: &[u8]) -> io::Result<Table> {
    let mut file: BTreeMap<String, Table> = serde_json::from_slice(text)?;
    Ok(file.remove("configTable").unwrap_or_default())
}

/// Writes beside, syncs and renames; what was there becomes the `.bak`. Java: `MixAll.string2File`.
fn write(file: &Path, table: &Table) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    let text = serde_json::to_vec(&BTreeMap::from([("configTable", table)]))?;
    let beside = file.with_extension("json.tmp");
    fs::write(&beside, text)?;
    fs::File::open(&beside)?.sync_all()?;
    match fs::rename(file, file.with_extension("json.bak")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-009 for the table: values survive, deleted ones do not.
    #[test]
    fn s009_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("namesrv").join("kvConfig.json");
        let kv = KvConfig::open(file.clone()).unwrap();
        assert_eq!(kv.value("ns", "k"), None);
        kv.put("ns", "k", "v").unwrap();
        kv.put("ns", "gone", "x").unwrap();
        kv.delete("ns", "gone").unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            r#"{"configTable":{"ns":{"k":"v"}}}"#
        );
        assert!(file.with_extension("json.bak").exists());
        let again = KvConfig::open(file).unwrap();
        assert_eq!(again.value("ns", "k").as_deref(), Some("v"));
        assert_eq!(again.value("ns", "gone"), None);
        assert_eq!(again.namespace("other"), None);
    }

    #[test]
    fn a_damaged_file_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kvConfig.json");
        fs::write(&file, "{\"configTable\":").unwrap();
        assert!(KvConfig::open(file.clone()).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "{\"configTable\":");
    }
}
