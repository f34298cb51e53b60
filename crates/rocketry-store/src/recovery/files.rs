//! The files of the commit log as found, checked before anything is written.

use crate::{FileSystem, Layout, StoreError, layout::numbered_files};

/// The commit-log files of a directory.
#[derive(Debug)]
pub(crate) struct LogFiles {
    /// Length of each.
    pub(crate) file_bytes: u64,
    /// Start offsets, without a gap.
    pub(crate) starts: Vec<u64>,
    /// Files of length 0 at the end: begun and never given their length.
    pub(crate) empty: Vec<u64>,
}

impl LogFiles {
    /// Finds the files and their size; `default_bytes` is that of a new directory.
    pub(crate) fn find(
        fs: &dyn FileSystem,
        layout: &Layout,
        default_bytes: u64,
    ) -> Result<Self, StoreError> {
        let dir = layout.commit_log();
        let mut files = numbered_files(fs, &dir)?;
        let mut empty = Vec::new();
        while let Some((start, 0)) = files.last() {
            empty.push(*start);
            files.pop();
        }
        let file_bytes = match files.as_slice() {
            [] => default_bytes,
            [(_, len)] => *len,
            [(first, _), (second, _), ..] => second - first,
        };
        let wrong = |start: u64, found, expected, reason| StoreError::WrongSize {
            path: dir.join(Layout::numbered(start)),
            found,
            expected,
            reason,
        };
        let mut expected_start = files.first().map_or(0, |(start, _)| *start);
        for (start, len) in &files {
            if *len != file_bytes {
                return Err(wrong(
                    *start,
                    *len,
                    file_bytes,
                    "all files of a commit log have one length, the distance of their names; restore the file from a copy",
                ));
            }
            if *start != expected_start {
                return Err(StoreError::MissingFile {
                    dir,
                    expected: expected_start,
                    found: *start,
                });
            }
            expected_start += file_bytes;
        }
        if let Some((start, len)) = files.first() {
            // a file alone tells its size only by its length: sizes in use are whole kilobytes, and names multiples of the size
            let odd = files.len() == 1 && file_bytes != default_bytes && !len.is_multiple_of(1024);
            if odd || !start.is_multiple_of(file_bytes) {
                return Err(wrong(
                    *start,
                    *len,
                    default_bytes,
                    "this is no size of a commit-log file; restore the file from a copy",
                ));
            }
        }
        Ok(Self {
            file_bytes,
            starts: files.into_iter().map(|(start, _)| start).collect(),
            empty,
        })
    }

    /// Start of the log.
    pub(crate) fn min(&self) -> u64 {
        self.starts.first().copied().unwrap_or(0)
    }

    /// End of the last file.
    pub(crate) fn end(&self) -> u64 {
        self.starts.last().map_or(0, |last| last + self.file_bytes)
    }
}
