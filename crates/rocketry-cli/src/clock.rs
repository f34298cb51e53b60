//! The only reader of time in the binary.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the file that reads the clocks"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, on a clock that never goes back.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The moment `main` began, and the CPU time that loading the program had taken until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MainEntered {
    at: Instant,
    cpu: Duration,
}

impl MainEntered {
    /// To be called first in `main`.
    pub(crate) fn now() -> Self {
        Self {
            at: now(),
            cpu: process_cpu(),
        }
    }

    /// Time since this process was started, loading of the program included.
    ///
    /// That is the time since `main` began and the CPU time before it. On Linux it is also held within what the kernel says about the
    /// start, which it knows to a hundredth of a second: loading may have waited for a disk.
    pub(crate) fn since_process_start(self) -> Duration {
        let age = self.at.elapsed() + self.cpu;
        match kernel_age() {
            Some(longest) => {
                age.clamp(longest.saturating_sub(TICK), longest.max(self.at.elapsed()))
            }
            None => age,
        }
    }
}

/// Resolution of the start time that the kernel keeps.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of this process so far.
#[cfg(unix)]
pub(crate) fn process_cpu() -> Duration {
    duration(rustix::time::clock_gettime(
        rustix::time::ClockId::ProcessCPUTime,
    ))
}

/// Not told here.
#[cfg(not(unix))]
pub(crate) fn process_cpu() -> Duration {
    Duration::ZERO
}

#[cfg(unix)]
fn duration(time: rustix::time::Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Time since the start that the kernel noted, which is rounded down to a tick, so that this is the longest it can be.
#[cfg(target_os = "linux")]
fn kernel_age() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let started =
        start_ticks(&stat)?.checked_mul(1_000_000_000)? / rustix::param::clock_ticks_per_second();
    duration(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
        .checked_sub(Duration::from_nanos(started))
}

#[cfg(not(target_os = "linux"))]
fn kernel_age() -> Option<Duration> {
    None
}

/// Field 22 of `/proc/PID/stat`: start time in clock ticks since boot. The name in field 2 may contain anything but ends at the last `)`.
#[cfg(target_os = "linux")]
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_read_behind_any_name() {
        let stat = "1234 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20";
        assert_eq!(start_ticks(stat), Some(424_242));
        assert_eq!(start_ticks("1234 no name"), None);
    }

    #[test]
    fn age_of_this_process_is_what_the_kernel_says() {
        let age = MainEntered::now().since_process_start();
        let longest = kernel_age().unwrap();
        assert!(
            age <= longest && age + TICK * 2 > longest,
            "{age:?} of {longest:?}"
        );
    }
}
