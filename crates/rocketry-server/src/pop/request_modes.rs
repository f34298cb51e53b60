//! Which groups read which topics by popping, kept in `config/messageRequestMode.json`. Java: `MessageRequestModeManager`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;
use rocketry_protocol::{
    body,
    body::assignment::{MessageRequestModeSerializeWrapper, SetMessageRequestModeRequestBody},
};

/// The modes, with their file.
#[derive(Debug)]
pub(crate) struct RequestModes {
    file: PathBuf,
    modes: RwLock<MessageRequestModeSerializeWrapper>,
}

impl RequestModes {
    /// Reads the file; a missing one is an empty table. A damaged one stays aside as it is, and groups pull.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let file = data_dir.join("config").join("messageRequestMode.json");
        let modes = match fs::read(&file) {
            Ok(text) => match body::decode(&text) {
                Ok(modes) => modes,
                Err(error) => {
                    let aside = file.with_extension("json.damaged");
                    tracing::warn!(%error, aside = %aside.display(), "the request modes of groups are lost");
                    fs::rename(&file, aside)?;
                    MessageRequestModeSerializeWrapper::default()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                MessageRequestModeSerializeWrapper::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            file,
            modes: RwLock::new(modes),
        })
    }

    /// How a group reads a topic, if that was set.
    pub(crate) fn get(&self, topic: &str, group: &str) -> Option<SetMessageRequestModeRequestBody> {
        let modes = self.modes.read();
        let groups = modes.message_request_mode_map.get(topic)?;
        groups.get(group).cloned()
    }

    /// Sets the mode and writes the file.
    pub(crate) fn set(&self, mode: SetMessageRequestModeRequestBody) -> io::Result<()> {
        let mut modes = self.modes.write();
        modes
            .message_request_mode_map
            .entry(mode.topic.clone())
            .or_default()
            .insert(mode.consumer_group.clone(), mode);
        let text = body::encode(&*modes).map_err(io::Error::other)?;
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        let beside = self.file.with_extension("json.tmp");
        fs::write(&beside, text)?;
        fs::File::open(&beside)?.sync_all()?;
        match fs::rename(&self.file, self.file.with_extension("json.bak")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&beside, &self.file)
    }
}
