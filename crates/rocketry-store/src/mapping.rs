//! A file's bytes where the system's page cache has them, so that what goes to a socket is copied once and not twice.

#![allow(
    unsafe_code,
    reason = "memory that the system fills cannot be had without; each block says why it holds"
)]

use std::{
    ffi::c_void,
    fs, io,
    ops::Range,
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use bytes::Bytes;
use rustix::mm::{self, MapFlags, ProtFlags};

/// All bytes that a file had when it was mapped, for reading.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; it is only read, and unmapped once, by the last owner.
unsafe impl Send for Mapping {}
// SAFETY: as above; there is no method that changes anything.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of `file`.
    ///
    /// # Errors
    /// The system has no room for it, or the file is empty.
    pub(crate) fn of(file: &fs::File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len())
            .ok()
            .filter(|len| *len > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at a place that the system chooses takes no memory that is in use.
        let start = unsafe {
            mm::mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The bytes of `range`; `None` when they are not all part of the file, or the system cannot bring them all into memory: an
    /// error of the disk is met here, and not as a signal by whoever looks at them. (That a page leaves memory again, and cannot be
    /// read a second time, remains: the process dies then.)
    ///
    /// # Safety
    /// While the result or a part of it lives, nobody writes to the range, and the file is not cut before its end.
    pub(crate) unsafe fn bytes(self: &Arc<Self>, range: Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        if start >= end || end > self.len {
            return None;
        }
        self.populate(start, end).ok()?;
        Some(Bytes::from_owner(Part {
            mapping: Arc::clone(self),
            start,
            len: end - start,
        }))
    }

    #[cfg(target_os = "linux")]
    fn populate(&self, start: usize, end: usize) -> io::Result<()> {
        let page = rustix::param::page_size();
        let start = start - start % page;
        // SAFETY: `start` lies within the mapping, whose first byte is one of a page, so the sum is a page of it; advice to read does
        // not change memory.
        unsafe {
            let at = self.start.as_ptr().byte_add(start);
            mm::madvise(at, end - start, mm::Advice::LinuxPopulateRead)?;
        }
        Ok(())
    }

    /// Elsewhere no call brings pages in and tells of errors.
    #[cfg(not(target_os = "linux"))]
    fn populate(&self, _: usize, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length, and every `Part` of it holds an `Arc` of it.
        let unmapped = unsafe { mm::munmap(self.start.as_ptr(), self.len) };
        if let Err(error) = unmapped {
            tracing::warn!(%error, "a file stays mapped");
        }
    }
}

/// Some of the bytes; the owner of what [`Mapping::bytes`] returns.
struct Part {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start + len` is at most the mapping's length, as `Mapping::bytes` checked, and the mapping lives as long as `self`.
        // The bytes do not change meanwhile: that is what the caller of `Mapping::bytes` answers for.
        unsafe {
            let at = self.mapping.start.as_ptr().byte_add(self.start);
            slice::from_raw_parts(at.cast(), self.len)
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn bytes_outlive_file_and_mapping() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(20_000).collect();
        file.write_all(&content).unwrap();
        let mapping = Arc::new(Mapping::of(&file).unwrap());
        drop(file);
        // SAFETY: nobody else has the file.
        let (some, last) = unsafe { (mapping.bytes(4_095..9_000), mapping.bytes(19_999..20_000)) };
        drop(mapping);
        assert_eq!(some.unwrap(), content[4_095..9_000]);
        assert_eq!(last.unwrap(), content[19_999..]);
    }

    #[test]
    fn what_is_not_there_is_not_mapped() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(Mapping::of(&file).is_err(), "an empty file");
        file.write_all(&[7; 10]).unwrap();
        let mapping = Arc::new(Mapping::of(&file).unwrap());
        // SAFETY: nobody else has the file.
        let map = |range| unsafe { mapping.bytes(range) };
        assert!(map(5..11).is_none());
        assert!(map(5..5).is_none());
        assert!(map(0..u64::MAX).is_none());
        assert!(map(0..10).is_some());
        // the page is gone: an error, where looking would end the process
        file.set_len(0).unwrap();
        assert!(map(0..10).is_none());
    }
}
