//! Keys on their way to the index, or the note that it has to be brought up to the log.

use super::IndexKey;

/// Keys of dispatched messages that wait for the index, in log order. When the index could not be written they are forgotten, and no
/// more are kept: it is then behind, and catches up from the log.
#[derive(Debug, Default)]
pub(crate) struct WaitingKeys {
    keys: Vec<IndexKey>,
    /// Log offset up to which messages are indexed, while the index is behind.
    behind: Option<u64>,
}

impl WaitingKeys {
    pub(crate) fn new(keys: Vec<IndexKey>) -> Self {
        Self { keys, behind: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &[IndexKey] {
        &self.keys
    }

    /// Adds the keys of messages that became visible; `keys` is empty afterwards.
    pub(crate) fn append(&mut self, keys: &mut Vec<IndexKey>) {
        if self.behind.is_none() {
            self.keys.append(keys);
        } else {
            keys.clear();
        }
    }

    /// Takes the keys to write them.
    pub(crate) fn take(&mut self) -> Vec<IndexKey> {
        std::mem::take(&mut self.keys)
    }

    /// Log offset up to which messages are indexed, while the index is behind.
    pub(crate) fn behind(&self) -> Option<u64> {
        self.behind
    }

    /// Notes that the index has messages up to `log_offset` only. Returns whether it was not behind before.
    pub(crate) fn fall_behind(&mut self, log_offset: u64) -> bool {
        self.keys = Vec::new();
        self.behind.replace(log_offset).is_none()
    }

    /// Goes on with keys in memory, of which `keys` are the first: those of the messages that the index lacks.
    pub(crate) fn catch_up(&mut self, keys: Vec<IndexKey>) {
        self.keys = keys;
        self.behind = None;
    }
}
