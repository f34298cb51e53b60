//! The file-system operations the store needs, and what each of them promises about a crash.
//!
//! Everything the store does to a disk goes through [`FileSystem`] and [`File`], so that a test can run the same code on a simulated
//! disk that loses, keeps or tears whatever was not synced. The promises, which are those of POSIX:
//!
//! | operation | after a crash of the process | after a crash of the machine |
//! |---|---|---|
//! | [`File::write_at`] | kept | kept, lost or torn, page by page and in any order, until [`File::sync`] of that file returns |
//! | [`File::set_len`], [`File::zero_range`] | kept | kept or lost until [`File::sync`] of that file returns |
//! | [`FileSystem::open`] that creates, [`FileSystem::create_dir`], [`FileSystem::rename`], [`FileSystem::remove`] | kept | kept or lost until [`FileSystem::sync_dir`] of the directory that holds the name returns; a rename is never half done |
//!
//! After a failed sync nothing can be said about the file's unsynced content: the store then stops writing for good.

use std::{
    fmt::Debug,
    fs, io,
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::process::{Flock, FlockOffsetType, FlockType};

use crate::mapping::Mapping;

/// How [`FileSystem::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading only; the file must exist.
    Read,
    /// Reading and writing; the file must exist.
    Write,
    /// Reading and writing; created empty when it does not exist.
    Create,
    /// Reading and writing; emptied when it exists, created when it does not.
    Truncate,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are converted lossily; the store never makes any.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length of a file in bytes, 0 for a directory.
    pub len: u64,
}

/// A disk.
pub trait FileSystem: Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, or a directory that is empty.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory if it is empty, and makes that durable; no error if it is not, or does not exist.
    fn remove_empty_dir(&self, dir: &Path) -> io::Result<()> {
        match self.remove(dir) {
            Ok(()) => dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty => Ok(()),
                _ => Err(error),
            },
        }
    }
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Creates a directory and its missing parents; no error if it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything on the disk that holds the directory `path` durable, names included: cheaper than many single syncs, although it
    /// also writes what others left. What a mount or a symbolic link below `path` leads to may be on another disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the system cannot do it; the caller then syncs one by one.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a file, creating the file if needed, without waiting. The lock ends with the returned value.
    ///
    /// # Errors
    /// [`LockFailure::Held`] when another process, or another value in this process, has it.
    fn lock(&self, path: &Path) -> Result<FileLock, LockFailure>;
    /// Whether the lock of a file could be taken, without taking it or making the file.
    ///
    /// # Errors
    /// As [`FileSystem::lock`].
    fn probe_lock(&self, path: &Path) -> Result<(), LockFailure> {
        let _ = path;
        Ok(())
    }
    /// Bytes that a file takes on the disk, holes left out; `None` when the system does not say.
    fn allocated_bytes(&self, path: &Path) -> Option<u64> {
        let _ = path;
        None
    }
    /// Bytes that can still be written below `path`, `None` when the system does not say.
    fn free_bytes(&self, path: &Path) -> Option<u64>;
    /// Size of the disk that holds `path` in bytes, `None` when the system does not say.
    fn total_bytes(&self, path: &Path) -> Option<u64> {
        let _ = path;
        None
    }
}

/// An open file. All operations name their position, so that a file can be shared between threads.
pub trait File: Debug + Send + Sync {
    /// Reads at most `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most `buf.len()` bytes.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Sets the length; bytes between the old and the new end read as zeros and take no space.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes `len` bytes from `offset` read as zeros without changing the file's length, giving back their space where possible.
    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Says that `len` bytes from `offset` will be read soon, so that the system may fetch them meanwhile. A hint: nothing fails.
    fn will_need(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
    /// Makes content and length durable. Java: `FileChannel.force(false)`.
    fn sync(&self) -> io::Result<()>;
    /// The bytes of `range` without a copy, from where the system keeps them. `None` where that cannot be done, also when the disk
    /// refuses them: whoever asks then reads.
    ///
    /// # Safety
    /// While the result or a part of it lives, nobody writes to the range, and the file is not cut before its end.
    #[allow(
        unsafe_code,
        reason = "only the caller knows that the range is final; see `Mapping`"
    )]
    unsafe fn map(&self, range: Range<u64>) -> Option<Bytes> {
        let _ = range;
        None
    }

    /// Fills `buf`, whatever pieces the system returns.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = buf.get_mut(n..).unwrap_or_default();
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`, whatever pieces the system takes.
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = buf.get(n..).unwrap_or_default();
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A held lock; dropping it gives the lock back.
#[derive(Debug)]
pub struct FileLock {
    #[expect(dead_code, reason = "held for its destructor")]
    guard: Box<dyn Debug + Send + Sync>,
}

impl FileLock {
    /// A lock that ends when `guard` is dropped.
    pub fn new(guard: impl Debug + Send + Sync + 'static) -> Self {
        Self {
            guard: Box::new(guard),
        }
    }
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockFailure {
    /// Somebody has it; the process id if the system tells.
    Held(Option<u32>),
    /// The file could not be opened or locked.
    Io(io::Error),
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::Truncate => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile {
            file: options.open(path)?,
            mapping: OnceLock::new(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path)?.is_dir() {
            fs::remove_dir(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                // follows symbolic links, which operators use to spread a store over disks
                let metadata = fs::metadata(entry.path())?;
                Ok(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_dir: metadata.is_dir(),
                    len: if metadata.is_dir() { 0 } else { metadata.len() },
                })
            })
            .collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::fs::syncfs(fs::File::open(path)?)?);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = path;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn lock(&self, path: &Path) -> Result<FileLock, LockFailure> {
        process_lock::take(path)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockFailure> {
        process_lock::probe(path)
    }

    fn allocated_bytes(&self, path: &Path) -> Option<u64> {
        let metadata = fs::metadata(path).ok()?;
        Some(metadata.blocks().saturating_mul(512))
    }

    fn free_bytes(&self, path: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, path: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// Made when it is first asked for; `None` inside when the system refused.
    mapping: OnceLock<Option<Arc<Mapping>>>,
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(&self.file, flags, offset, len) {
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                other => return Ok(other?),
            }
        }
        overwrite_with_zeros(self, offset, len)
    }

    fn will_need(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Advice, fadvise};
            let _ = fadvise(&self.file, offset, NonZeroU64::new(len), Advice::WillNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[allow(unsafe_code, reason = "as `File::map` says")]
    unsafe fn map(&self, range: Range<u64>) -> Option<Bytes> {
        let mapping = self
            .mapping
            .get_or_init(|| Mapping::of(&self.file).ok().map(Arc::new));
        // SAFETY: what `Mapping::bytes` asks for is what the caller of this promises.
        unsafe { mapping.as_ref()?.bytes(range) }
    }
}

/// Writes zeros over what is not zero: where the system cannot make holes, a hole that is there already must not be filled.
fn overwrite_with_zeros(file: &dyn File, offset: u64, len: u64) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    let zeros = vec![0; CHUNK];
    let mut found = vec![0; CHUNK];
    let end = offset.saturating_add(len).min(file.length()?);
    let mut at = offset;
    while at < end {
        let n = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
        let (found, zeros) = (
            found.get_mut(..n).unwrap_or_default(),
            zeros.get(..n).unwrap_or_default(),
        );
        file.read_exact_at(found, at)?;
        if found != zeros {
            file.write_all_at(zeros, at)?;
        }
        at += n as u64;
    }
    Ok(())
}

/// The POSIX record lock on byte 0 that Java's `FileChannel.lock(0, 1, false)` takes. `flock` would not exclude a Java broker.
///
/// Record locks belong to the process: a second open in the same process would succeed, and closing any descriptor of the file
/// would end the lock. So the process keeps its own table of held paths and asks it first.
mod process_lock {
    use std::{io::Write as _, os::fd::AsFd as _};

    use super::{
        FileLock, Flock, FlockOffsetType, FlockType, LockFailure, Mutex, Path, PathBuf, fs,
    };

    static HELD: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    #[derive(Debug)]
    struct Guard {
        path: PathBuf,
        file: Option<fs::File>,
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            let mut held = HELD.lock();
            // the lock ends with the descriptor; only then may another open of this process look at the file
            drop(self.file.take());
            held.retain(|path| *path != self.path);
        }
    }

    pub(super) fn take(path: &Path) -> Result<FileLock, LockFailure> {
        let canonical = canonical(path).map_err(LockFailure::Io)?;
        let mut held = HELD.lock();
        if held.contains(&canonical) {
            return Err(LockFailure::Held(Some(std::process::id())));
        }
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&canonical)
            .map_err(LockFailure::Io)?;
        lock_file(&file)?;
        if file.metadata().map_err(LockFailure::Io)?.len() == 0 {
            file.write_all(b"lock").map_err(LockFailure::Io)?;
        }
        held.push(canonical.clone());
        Ok(FileLock::new(Guard {
            path: canonical,
            file: Some(file),
        }))
    }

    fn canonical(path: &Path) -> std::io::Result<PathBuf> {
        match (path.parent(), path.file_name()) {
            (Some(dir), Some(name)) => Ok(dir.canonicalize()?.join(name)),
            _ => Ok(path.to_path_buf()),
        }
    }

    pub(super) fn probe(path: &Path) -> Result<(), LockFailure> {
        let canonical = canonical(path).map_err(LockFailure::Io)?;
        // kept while the file is open: closing it would end a lock that this process takes meanwhile
        let held = HELD.lock();
        if held.contains(&canonical) {
            return Err(LockFailure::Held(Some(std::process::id())));
        }
        let file = match fs::File::open(&canonical) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LockFailure::Io(error)),
        };
        match in_the_way(&file).map_err(|error| LockFailure::Io(error.into()))? {
            Some(lock) => Err(LockFailure::Held(holder(&lock))),
            None => Ok(()),
        }
    }

    /// The lock that is in the way of taking it, if any.
    fn in_the_way(file: &fs::File) -> Result<Option<Flock>, rustix::io::Errno> {
        let wanted = Flock {
            start: 0,
            length: 1,
            pid: None,
            typ: FlockType::WriteLock,
            offset_type: FlockOffsetType::Set,
        };
        rustix::process::fcntl_getlk(file, &wanted)
    }

    fn holder(lock: &Flock) -> Option<u32> {
        let pid = lock.pid?;
        u32::try_from(pid.as_raw_nonzero().get()).ok()
    }

    fn lock_file(file: &fs::File) -> Result<(), LockFailure> {
        use rustix::{
            fs::{FlockOperation, fcntl_lock},
            io::Errno,
        };
        match fcntl_lock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::ACCESS | Errno::AGAIN) => {
                let lock = in_the_way(file).ok().flatten();
                Err(LockFailure::Held(lock.as_ref().and_then(holder)))
            }
            Err(error) => Err(LockFailure::Io(error.into())),
        }
    }
}
