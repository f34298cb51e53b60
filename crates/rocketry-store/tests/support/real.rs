//! File systems of tests that differ from the real one in a few calls only: the rest is written here.
#![allow(unused_macros, unused_imports, reason = "each test file uses its part")]

/// The named calls of a [`FileSystem`](rocketry_store::FileSystem), as the real one has them.
macro_rules! as_on_disk {
    ($($call:ident)*) => { $(as_on_disk!(@ $call);)* };
    (@ rename) => {
        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            rocketry_store::fs::RealFileSystem.rename(from, to)
        }
    };
    (@ list) => {
        fn list(&self, dir: &std::path::Path) -> std::io::Result<Vec<rocketry_store::fs::Entry>> {
            rocketry_store::fs::RealFileSystem.list(dir)
        }
    };
    (@ lock) => {
        fn lock(
            &self,
            path: &std::path::Path,
        ) -> Result<rocketry_store::fs::FileLock, rocketry_store::fs::LockFailure> {
            rocketry_store::fs::RealFileSystem.lock(path)
        }
    };
    (@ free_bytes) => {
        fn free_bytes(&self, path: &std::path::Path) -> Option<u64> {
            rocketry_store::fs::RealFileSystem.free_bytes(path)
        }
    };
    (@ $call:ident) => {
        fn $call(&self, path: &std::path::Path) -> std::io::Result<()> {
            rocketry_store::fs::RealFileSystem.$call(path)
        }
    };
}
pub(crate) use as_on_disk;

/// The named calls of a [`File`](rocketry_store::fs::File), as the one in this field has them.
macro_rules! as_the_file {
    ($file:tt: $($call:ident)*) => { $(as_the_file!(@ $file $call);)* };
    (@ $file:tt read_at) => {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.$file.read_at(buf, offset)
        }
    };
    (@ $file:tt write_at) => {
        fn write_at(&self, buf: &[u8], offset: u64) -> std::io::Result<usize> {
            self.$file.write_at(buf, offset)
        }
    };
    (@ $file:tt length) => {
        fn length(&self) -> std::io::Result<u64> {
            self.$file.length()
        }
    };
    (@ $file:tt set_len) => {
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.$file.set_len(len)
        }
    };
    (@ $file:tt zero_range) => {
        fn zero_range(&self, offset: u64, len: u64) -> std::io::Result<()> {
            self.$file.zero_range(offset, len)
        }
    };
    (@ $file:tt sync) => {
        fn sync(&self) -> std::io::Result<()> {
            self.$file.sync()
        }
    };
}
pub(crate) use as_the_file;
