//! Removing topics: their queues end and their files go. The messages stay in the log as long as it does.

use std::sync::Arc;

use crate::{WriteError, Writer, consume_queue::ConsumeQueue};

impl Writer {
    /// Removes the consume queues of a topic, which then has none, and commits what was appended before. A later message of the topic
    /// begins its queue at 0. Returns the number of queues removed.
    ///
    /// Expects that the topic's configuration is gone already: the next start takes a topic that has neither configuration nor
    /// queues for removed, although the log may still have messages of it.
    ///
    /// # Errors
    /// As [`Writer::commit`]; or checkpoint or configuration could not be written, and the topic is as before. When a file cannot be
    /// removed the store takes no more messages: its content would mix with that of a new queue.
    ///
    /// Java: `DefaultMessageStore.deleteTopics`
    pub fn remove_topic(&mut self, topic: &str) -> Result<usize, WriteError> {
        self.commit()?;
        let queues = self.shared.queues.of_topic(topic);
        if queues.is_empty() {
            return Ok(0);
        }
        // the next start reads on behind the topic's messages
        self.flusher.sync_now()?;
        let queue_ends = &self.shared.metadata.queue_ends;
        // a table that is not there yet would have the next start search the log
        let forgotten = queue_ends.mark().and_then(|()| queue_ends.forget(topic));
        forgotten.map_err(|error| {
            let config = self.shared.layout.config();
            let error = std::io::Error::other(error);
            self.shared.write_error("write to", &config, error)
        })?;
        self.shared.queues.forget_topic(topic);
        self.flusher.forget(&queues);
        for queue in &queues {
            self.remove_files(queue)?;
        }
        Ok(queues.len())
    }

    fn remove_files(&self, queue: &Arc<ConsumeQueue>) -> Result<(), WriteError> {
        let dropped = queue.units.remove_all();
        let dir = queue.units.dir();
        let result = dropped.and_then(|bytes| {
            self.shared.queues.note_written(bytes);
            queue.begin_at(queue.max());
            match dir.parent() {
                Some(topic_dir) => self.shared.fs.remove_empty_dir(topic_dir),
                None => Ok(()),
            }
        });
        result.map_err(|error| {
            let error = self.shared.write_error("remove", &dir, error);
            self.shared.refuse_writes(error)
        })
    }
}
