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

/// Time since this process was started, loading of the program included.
///
/// Where the system does not tell (it does on Linux, to a hundredth of a second), time since `main_entered`.
pub(crate) fn since_process_start(main_entered: Instant) -> Duration {
    system_since_start().map_or_else(
        || main_entered.elapsed(),
        |age| age.max(main_entered.elapsed()),
    )
}

#[cfg(target_os = "linux")]
fn system_since_start() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let started = start_ticks(&stat)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let started = Duration::from_nanos(started.checked_mul(1_000_000_000)? / ticks_per_second);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(
        u64::try_from(now.tv_sec).ok()?,
        u32::try_from(now.tv_nsec).ok()?,
    );
    now.checked_sub(started)
}

#[cfg(not(target_os = "linux"))]
fn system_since_start() -> Option<Duration> {
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
    fn age_of_this_process_is_plausible() {
        let entered = now();
        let age = since_process_start(entered);
        assert!(age < Duration::from_hours(1), "{age:?}");
        assert!(system_since_start().is_some());
    }
}
