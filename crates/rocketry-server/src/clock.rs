//! The only reader of time in this crate. Everything below the shells takes `now` as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time in milliseconds since 1970. A clock before 1970 reads as 0.
#[expect(
    clippy::disallowed_methods,
    reason = "this file is where time enters the server"
)]
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// Local time since midnight of the first of the month, which unique message ids carry. Java: `MessageClientIDSetter.setStartTime`.
pub(crate) fn ms_since_month_start(now_ms: i64) -> u32 {
    let start = jiff::Timestamp::from_millisecond(now_ms)
        .map(|now| now.to_zoned(jiff::tz::TimeZone::system()))
        .and_then(|now| now.first_of_month()?.start_of_day());
    start.map_or(0, |start| {
        u32::try_from(now_ms - start.timestamp().as_millisecond()).unwrap_or(0)
    })
}

/// Local time as Java's tools show it, `yyyy-MM-dd#HH:mm:ss:SSS`. Java: `QueueTimeSpan`.
pub(crate) fn local_text(ms: i64) -> String {
    let zoned = jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(
        |_| ms.to_string(),
        |time| {
            format!(
                "{:04}-{:02}-{:02}#{:02}:{:02}:{:02}:{:03}",
                time.year(),
                time.month(),
                time.day(),
                time.hour(),
                time.minute(),
                time.second(),
                time.millisecond()
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_at_most_31_days() {
        let ms = ms_since_month_start(wall_ms());
        assert!(ms < 31 * 24 * 3_600_000 + 3_600_000, "{ms}");
    }
}
