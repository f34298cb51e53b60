//! What a driver is asked to do.

use std::fmt;

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Each caller waits for its answer.
    Sync,
    /// One caller, or as many as it takes, with a window of sends under way.
    Async,
    /// Nobody waits.
    Oneway,
    /// Each caller sends [`Workload::BATCH`] messages at a time.
    Batch,
    /// Each caller waits; the client gathers.
    AutoBatch,
}

impl Mode {
    /// As the drivers' `--mode` and the points' names have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Oneway => "oneway",
            Self::Batch => "batch",
            Self::AutoBatch => "auto-batch",
        }
    }
}

/// Sends of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Workload {
    pub(super) mode: Mode,
    /// Sends under way; of a batch, one.
    pub(super) in_flight: u32,
    /// Bytes of a body.
    pub(super) size: u32,
    /// `none`, `zlib`, `lz4` or `zstd`; with a codec bodies are words.
    pub(super) codec: &'static str,
}

impl Workload {
    /// Messages of a batch.
    pub(super) const BATCH: u32 = 32;

    pub(super) const fn new(mode: Mode, in_flight: u32, size: u32) -> Self {
        Self {
            mode,
            in_flight,
            size,
            codec: "none",
        }
    }

    pub(super) const fn compressed(codec: &'static str) -> Self {
        Self {
            codec,
            ..Self::new(Mode::Sync, 64, 4096)
        }
    }

    /// Whether it is one send at a time, whose latency depends on where client and server run.
    pub(super) fn is_one_at_a_time(self) -> bool {
        self.mode == Mode::Sync && self.in_flight == 1
    }

    /// The options that every driver understands.
    pub(super) fn options(self) -> Vec<String> {
        [
            ("--mode", self.mode.name().to_owned()),
            ("--in-flight", self.in_flight.to_string()),
            ("--size", self.size.to_string()),
            ("--batch", Self::BATCH.to_string()),
            ("--compress", self.codec.to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

/// `sync-64-1024`, `batch32-16-1024`, `sync-64-4096-zlib`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode.name())?;
        if self.mode == Mode::Batch {
            write!(f, "{}", Self::BATCH)?;
        }
        write!(f, "-{}-{}", self.in_flight, self.size)?;
        if self.codec != "none" {
            write!(f, "-{}", self.codec)?;
        }
        Ok(())
    }
}

/// What F1 and F2 are judged by, and the plots show.
pub(super) const MAIN: [Workload; 3] = [
    Workload::new(Mode::Sync, 1, 1024),
    Workload::new(Mode::Sync, 64, 1024),
    Workload::new(Mode::Async, 4096, 1024),
];

/// The rest of what a producer can be asked for.
pub(super) const MORE: [Workload; 10] = [
    Workload::new(Mode::Sync, 16, 1024),
    Workload::new(Mode::Async, 128, 1024),
    Workload::new(Mode::Oneway, 64, 1024),
    Workload::new(Mode::Batch, 16, 1024),
    Workload::new(Mode::AutoBatch, 64, 1024),
    Workload::new(Mode::Sync, 64, 128),
    Workload::new(Mode::Sync, 64, 16 * 1024),
    Workload::compressed("zlib"),
    Workload::compressed("lz4"),
    Workload::compressed("zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_all_points_apart() {
        let names: std::collections::HashSet<_> =
            MAIN.iter().chain(&MORE).map(ToString::to_string).collect();
        assert_eq!(names.len(), MAIN.len() + MORE.len());
        assert!(names.contains("sync-64-1024"));
        assert!(names.contains("batch32-16-1024"));
        assert!(names.contains("sync-64-4096-zstd"));
    }
}
