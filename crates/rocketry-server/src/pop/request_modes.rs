//! Which groups read which topics by popping, kept in `config/messageRequestMode.json`. Java: `MessageRequestModeManager`.

use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use rocketry_protocol::body::assignment::{
    MessageRequestModeSerializeWrapper, SetMessageRequestModeRequestBody,
};
use rocketry_store::{FileSystem, Layout, StoreError, metadata::ConfigFile};

/// The modes, with their file.
#[derive(Debug)]
pub(crate) struct RequestModes {
    file: ConfigFile,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    modes: MessageRequestModeSerializeWrapper,
    changes: u64,
}

impl RequestModes {
    /// Reads the file, or its `.bak` where that is missing or damaged; without either every group pulls. What was found is added to
    /// `notes`.
    pub(crate) fn open(
        disk: &Arc<dyn FileSystem>,
        data_dir: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let dir = Layout::new(data_dir).config();
        let (file, found) = ConfigFile::open(disk, &dir, "messageRequestMode.json", notes)?;
        Ok(Self {
            file,
            state: RwLock::new(State {
                modes: found.unwrap_or_default(),
                changes: 0,
            }),
        })
    }

    /// How a group reads a topic, if that was set.
    pub(crate) fn get(&self, topic: &str, group: &str) -> Option<SetMessageRequestModeRequestBody> {
        let state = self.state.read();
        let groups = state.modes.message_request_mode_map.get(topic)?;
        groups.get(group).cloned()
    }

    /// Sets the mode and writes the file.
    pub(crate) fn set(&self, mode: SetMessageRequestModeRequestBody) -> Result<(), StoreError> {
        let mut state = self.state.write();
        state
            .modes
            .message_request_mode_map
            .entry(mode.topic.clone())
            .or_default()
            .insert(mode.consumer_group.clone(), mode);
        state.changes += 1;
        self.file.save(state.changes, || &state.modes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rocketry_store::fs::RealFileSystem;

    use super::*;

    fn mode(group: &str) -> SetMessageRequestModeRequestBody {
        SetMessageRequestModeRequestBody {
            topic: "T".to_owned(),
            consumer_group: group.to_owned(),
            ..SetMessageRequestModeRequestBody::default()
        }
    }

    /// S-087, S-102: the modes survive, and the version before them where the file is gone or damaged.
    #[test]
    fn s087_modes_are_kept_as_other_settings_are() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        let open = || RequestModes::open(&disk, dir.path(), &mut Vec::new()).unwrap();
        let modes = open();
        modes.set(mode("a")).unwrap();
        modes.set(mode("b")).unwrap();
        assert_eq!(open().get("T", "b"), Some(mode("b")));
        let file = dir.path().join("config/messageRequestMode.json");
        fs::write(&file, "{").unwrap();
        assert_eq!(open().get("T", "a"), Some(mode("a")));
        fs::remove_file(&file).unwrap();
        let modes = open();
        assert_eq!(modes.get("T", "a"), Some(mode("a")));
        assert_eq!(modes.get("T", "b"), None);
    }
}
