//! Processor time and memory of another process, from `/proc`.

use crate::Result;

/// User and system time of `pid` so far, microseconds; steps of 10 ms on Linux.
pub(crate) fn cpu_us(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The second field is the name in brackets, which may hold blanks; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "100 on every Linux")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(ticks * 1e6 / per_second)
}

/// CPU time of this process so far, microseconds, to the nanosecond.
#[expect(clippy::cast_precision_loss, reason = "a process of 285 years")]
pub(super) fn own_cpu_us() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Memory of a process, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// All that is resident, mapped files included.
    pub(crate) resident: u64,
    /// The part that belongs to no file.
    pub(crate) anonymous: u64,
    /// The most that was resident.
    pub(crate) peak: u64,
}

/// Memory of `pid` now.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: u64 = line
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or_else(|| format!("{path}: no {name}"))?
            .parse()?;
        Ok(kib * 1024)
    };
    Ok(Memory {
        resident: line("VmRSS:")?,
        anonymous: line("RssAnon:")?,
        peak: line("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        let memory = memory(pid).unwrap();
        assert!(memory.anonymous > 10_000 && memory.resident > memory.anonymous);
        assert!(memory.peak >= memory.resident / 2);
        let (before, own) = (cpu_us(pid).unwrap(), own_cpu_us());
        let mut sum = 0_u64;
        while cpu_us(pid).unwrap() <= before {
            for number in 0..1_000_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
        }
        assert!(own_cpu_us() > own);
    }
}
