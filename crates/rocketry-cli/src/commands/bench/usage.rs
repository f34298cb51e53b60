//! What this process used of the machine: CPU time and memory, between two points.

use std::time::Duration;

/// CPU time of the process so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cpu {
    /// In user mode.
    pub(super) user: Duration,
    /// In the kernel.
    pub(super) system: Duration,
}

impl Cpu {
    /// Reads the clocks of this process; `None` where the system does not tell.
    ///
    /// The sum comes from the process's CPU clock, which counts nanoseconds; the kernel tells user and system apart in hundredths of a
    /// second only, so their ratio is taken from there.
    #[cfg(target_os = "linux")]
    pub(super) fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (user_ticks, system_ticks) = ticks(&stat)?;
        let total = crate::clock::process_cpu();
        Some(Self::split(total, user_ticks, system_ticks))
    }

    /// See the Linux form.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn now() -> Option<Self> {
        None
    }

    /// What was used since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// User and system together.
    pub(super) fn total(self) -> Duration {
        self.user + self.system
    }

    fn split(total: Duration, user_ticks: u64, system_ticks: u64) -> Self {
        let ticks = user_ticks + system_ticks;
        if ticks == 0 {
            return Self {
                user: total,
                system: Duration::ZERO,
            };
        }
        let share = u128::from(user_ticks) * total.as_nanos() / u128::from(ticks);
        let user = Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX));
        Self {
            user,
            system: total.saturating_sub(user),
        }
    }
}

/// CPU time that the process `pid` has used so far; in steps of 10 ms on Linux, not told elsewhere.
#[cfg(target_os = "linux")]
pub(super) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (user, system) = ticks(&stat)?;
    let nanos = (user + system).checked_mul(1_000_000_000)?;
    Some(Duration::from_nanos(
        nanos / rustix::param::clock_ticks_per_second(),
    ))
}

/// See the Linux form.
#[cfg(not(target_os = "linux"))]
pub(super) fn cpu_of(_: u32) -> Option<Duration> {
    None
}

/// Fields 14 and 15 of `/proc/PID/stat`, behind the name, which ends at the last `)`.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Starts a new measurement of the largest resident size. Linux 4.0 and later; elsewhere the peak covers the life of the process.
pub(super) fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Largest resident size of this process, in bytes.
pub(super) fn peak_memory() -> Option<u64> {
    memory_line(
        &std::fs::read_to_string("/proc/self/status").ok()?,
        "VmHWM:",
    )
}

/// Resident size of the process `pid`, in bytes.
pub(super) fn resident_memory(pid: u32) -> Option<u64> {
    memory_line(
        &std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        "VmRSS:",
    )
}

fn memory_line(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_behind_any_name() {
        assert_eq!(
            ticks("7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0"),
            Some((250, 50))
        );
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(
            memory_line("Name:\tx\nVmHWM:\t   1234 kB\n", "VmHWM:"),
            Some(1234 * 1024)
        );
        assert_eq!(memory_line("Name:\tx\n", "VmHWM:"), None);
    }

    #[test]
    fn the_split_keeps_the_sum() {
        let total = Duration::from_nanos(1_000_000_001);
        let cpu = Cpu::split(total, 250, 50);
        assert_eq!(cpu.total(), total);
        assert!(cpu.user > cpu.system * 4);
        assert_eq!(Cpu::split(total, 0, 0).user, total);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_shows() {
        let before = Cpu::now().unwrap();
        let mut x = 1u64;
        while Cpu::now().unwrap().since(before).total() < Duration::from_millis(5) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(peak_memory().unwrap() > 0);
        assert!(resident_memory(std::process::id()).unwrap() > 0);
    }
}
