//! Values of options as people write them: durations, sizes, points in time, queues.

use std::{env, sync::LazyLock, time::Duration};

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use crate::{load::Limit, output};

/// Where `consume` starts in each queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartPoint {
    /// The oldest message that is still there.
    First,
    /// Behind the newest message.
    Last,
    /// This offset; the nearest one that exists where it does not.
    Offset(i64),
    /// The first message stored at or after this time.
    Time(When),
}

/// Where a group is made to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetPoint {
    /// At the oldest message.
    First,
    /// Behind the newest message.
    Last,
    /// At the first message stored at or after this time.
    Time(When),
}

/// A point in time: fixed, or counted back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Milliseconds since 1970.
    Ms(i64),
    /// This long ago.
    Ago(Duration),
}

impl When {
    /// Milliseconds since 1970, given what the clock says.
    pub(crate) fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::Ms(ms) => ms,
            Self::Ago(ago) => {
                now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}

/// How long `consume` waits for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: stop behind what was there at the start.
    Not,
    /// Stop when none came for this long.
    Idle(Duration),
    /// Until stopped by hand.
    Forever,
}

/// A queue named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueName {
    /// Name of the broker.
    pub(crate) broker: String,
    /// Number of the queue.
    pub(crate) id: i32,
}

/// `500ms`, `3s`, `2m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration such as 500ms, 3s, 2m or 1h30m".to_owned();
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(parsed).map_err(|_| wrong())?;
    if duration.is_zero() {
        return Err("must be longer than zero".to_owned());
    }
    Ok(duration)
}

/// A number of messages or a duration: `10000`, `500ms`; `0` is nothing.
pub(crate) fn amount(text: &str) -> Result<Limit, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let count = text.parse().map_err(|_| "too many".to_owned())?;
        return Ok(Limit::Count(count));
    }
    duration(text)
        .map(Limit::Time)
        .map_err(|e| format!("{e}, or a number of messages"))
}

/// A duration, `0s`, or `forever`.
pub(crate) fn wait(text: &str) -> Result<Wait, String> {
    match text {
        "forever" => Ok(Wait::Forever),
        "0" | "0s" | "0ms" => Ok(Wait::Not),
        _ => duration(text)
            .map(Wait::Idle)
            .map_err(|e| format!("{e}, or forever")),
    }
}

/// Bytes: `128`, `4k`, `1KiB`, `2MiB`; k and M are binary.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: usize = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        _ => return Err("write a size in bytes such as 128, 4KiB or 1MiB".to_owned()),
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(scale));
    match bytes {
        None => Err("write a size in bytes such as 128, 4KiB or 1MiB".to_owned()),
        Some(0) => Err("RocketMQ has no empty messages: at least 1 byte".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// Messages per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("write messages per second, 0.001 to 10000000".to_owned()),
    }
}

/// `K=V`; the value may contain further `=`.
pub(crate) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE, neither of them empty".to_owned()),
    }
}

/// `BROKER:ID`.
pub(crate) fn queue_name(text: &str) -> Result<QueueName, String> {
    let wrong =
        || "write BROKER:ID, for example broker-a:0 (see `rocketry topic route TOPIC`)".to_owned();
    let (broker, id) = text.rsplit_once(':').ok_or_else(wrong)?;
    let id: i32 = id.parse().map_err(|_| wrong())?;
    if broker.is_empty() || id < 0 {
        return Err(wrong());
    }
    Ok(QueueName {
        broker: broker.to_owned(),
        id,
    })
}

/// `first`, `last`, `offset:N`, `time:T`.
pub(crate) fn start_point(text: &str) -> Result<StartPoint, String> {
    match text.split_once(':') {
        None if text == "first" => Ok(StartPoint::First),
        None if text == "last" => Ok(StartPoint::Last),
        Some(("offset", n)) => match n.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(StartPoint::Offset(offset)),
            _ => Err("offset:N wants a number from 0 on".to_owned()),
        },
        Some(("time", time)) => when(time).map(StartPoint::Time),
        _ => Err("write first, last, offset:N or time:T".to_owned()),
    }
}

/// `first`, `last`, `time:T`.
pub(crate) fn reset_point(text: &str) -> Result<ResetPoint, String> {
    match start_point(text) {
        Ok(StartPoint::First) => Ok(ResetPoint::First),
        Ok(StartPoint::Last) => Ok(ResetPoint::Last),
        Ok(StartPoint::Time(when)) => Ok(ResetPoint::Time(when)),
        Err(error) if text.starts_with("time:") => Err(error),
        _ => Err("write first, last or time:T".to_owned()),
    }
}

/// A fixed point in time as milliseconds since 1970.
pub(crate) fn time_ms(text: &str) -> Result<i64, String> {
    match when(text) {
        Ok(When::Ms(ms)) if ms >= 0 => Ok(ms),
        _ => Err("write a time as 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local) or milliseconds since 1970".to_owned()),
    }
}

/// A point in time, fixed or counted back from now.
pub(crate) fn when(text: &str) -> Result<When, String> {
    if let Some(ago) = text.strip_prefix('-') {
        return duration(ago).map(When::Ago);
    }
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(When::Ms(ms));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(When::Ms(timestamp.as_millisecond()));
    }
    let local = text
        .parse::<civil::DateTime>()
        .ok()
        .and_then(|civil| civil.to_zoned(local_zone()).ok());
    local.map(|zoned| When::Ms(zoned.timestamp().as_millisecond())).ok_or_else(|| {
        "write a time as 2026-01-31T10:00:00Z, '2026-01-31 10:00' (local), milliseconds since 1970, or -1h".to_owned()
    })
}

/// The zone that `TZ` or the system's settings name. UTC, which is said once, where `TZ` names none that the system knows.
fn local_zone() -> TimeZone {
    static ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
        TimeZone::try_system().unwrap_or_else(|_| {
            if let Some(named) = env::var_os("TZ") {
                output::note(format_args!(
                    "TZ={}: no time zone of that name is known here, local times are in UTC",
                    named.display()
                ));
            }
            TimeZone::UTC
        })
    });
    ZONE.clone()
}

/// Milliseconds since 1970 as local time with milliseconds, for people.
pub(crate) fn local_time(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(timestamp) => timestamp
            .to_zoned(local_zone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f")
            .to_string(),
        Err(_) => ms.to_string(),
    }
}

/// A duration for people: three significant figures and the unit that suits.
pub(crate) fn readable(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    let (value, unit) = match us {
        _ if us < 1e3 => (us, "us"),
        _ if us < 1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    match value {
        _ if value < 10.0 => format!("{value:.2} {unit}"),
        _ if value < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Milliseconds for programs, with the microseconds behind the point.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// `n` and the noun, in the plural where it is due.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in [
            "",
            "3",
            "s",
            "-3s",
            "0s",
            "3 parsecs",
            "99999999999999999999s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(wait("0s"), Ok(Wait::Not));
        assert_eq!(wait("forever"), Ok(Wait::Forever));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("128"), Ok(128));
        assert_eq!(size("1KiB"), Ok(1024));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("2 MiB"), Ok(2 << 20));
        for wrong in ["", "k", "-1", "1.5k", "1GiB", "0", "18446744073709551615k"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn start_points() {
        assert_eq!(start_point("first"), Ok(StartPoint::First));
        assert_eq!(start_point("last"), Ok(StartPoint::Last));
        assert_eq!(start_point("offset:17"), Ok(StartPoint::Offset(17)));
        assert_eq!(
            start_point("time:1700000000123"),
            Ok(StartPoint::Time(When::Ms(1_700_000_000_123)))
        );
        assert_eq!(
            start_point("time:1970-01-02T00:00:00Z"),
            Ok(StartPoint::Time(When::Ms(86_400_000)))
        );
        assert_eq!(
            start_point("time:-1h"),
            Ok(StartPoint::Time(When::Ago(Duration::from_hours(1))))
        );
        assert_eq!(When::Ago(Duration::from_secs(1)).ms(5000), 4000);
        assert!(matches!(
            start_point("time:2026-01-31 10:00"),
            Ok(StartPoint::Time(When::Ms(_)))
        ));
        for wrong in [
            "",
            "begin",
            "offset:",
            "offset:-1",
            "time:",
            "time:soon",
            "time:-",
            "first:1",
        ] {
            assert!(start_point(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time_ms("1970-01-02T00:00:00Z"), Ok(86_400_000));
        assert_eq!(time_ms("17"), Ok(17));
        for wrong in ["", "-1h", "-1", "soon", "10:00"] {
            assert!(time_ms(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn queues_and_properties() {
        assert_eq!(
            queue_name("broker-a:3"),
            Ok(QueueName {
                broker: "broker-a".to_owned(),
                id: 3
            })
        );
        for wrong in ["", "3", ":3", "b:", "b:-1", "b:x"] {
            assert!(queue_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(property("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        for wrong in ["", "a", "=b", "a="] {
            assert!(property(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["", "0", "-1", "inf", "NaN", "1e9"] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn readable_durations() {
        assert_eq!(readable(Duration::from_nanos(1500)), "1.50 us");
        assert_eq!(readable(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(readable(Duration::from_secs(123)), "123 s");
    }
}
