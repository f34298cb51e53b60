//! How much freed memory the C library keeps for this process.
//!
//! By itself glibc opens up to eight heaps for each core, each of which keeps what its worst moment left behind, and takes ever larger blocks
//! from them instead of from the system. With as many heaps as threads that run at a time, and large blocks apart, a server with 10,000
//! topics and 5,000 clients is a third smaller (`docs/performance.md`).

/// Settings of the environment that are left to have their way.
const BY_ENVIRONMENT: [&str; 4] = [
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
];

/// Blocks from this size on come from the system and go back to it: buffers of bursts, pages of metrics, not what each message takes.
const LARGE_BYTES: libc::c_int = 1 << 20;

/// Bytes that the end of a heap may have free before they go back.
const TRIM_BYTES: libc::c_int = 2 << 20;

/// Makes the settings; to be called before any thread is started.
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub(crate) fn keep_small() {
    if BY_ENVIRONMENT
        .iter()
        .any(|name| std::env::var_os(name).is_some())
    {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let heaps = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
    for (option, value) in [
        (libc::M_ARENA_MAX, heaps),
        (libc::M_MMAP_THRESHOLD, LARGE_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_BYTES),
    ] {
        // SAFETY: mallopt takes two numbers and no memory of ours, and may be called at any time; it is not safe beside allocations of
        // other threads, and there are none yet. An option that it does not know changes nothing.
        unsafe { libc::mallopt(option, value) };
    }
}
