//! Instants as people type and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};
use tapstone_packet::time::{ATTOS_PER_SEC, Timestamp};

/// An instant that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not an instant; write it like 2026-11-25T03:10:00Z, 2026-11-25T03:10:00+01:00, \
     '2026-11-25 03:10' (UTC), '2h ago', '1d 6h ago', now, or seconds since 1970 such as \
     1764039000.25"
)]
pub struct InstantError {
    /// What was given.
    pub text: String,
}

/// Reads an instant: RFC 3339; a date, or a date and time, without an offset (UTC is meant); an
/// amount of time `ago`; `now`; or seconds since the epoch with any number of decimals.
///
/// `now` is the instant that relative ones count from.
///
/// # Errors
///
/// When the text is none of these, or the instant cannot be expressed.
///
/// ```
/// use tapstone::{Timestamp, parse_instant};
///
/// let now = Timestamp::from_secs_nanos(1_000_000, 0);
/// assert_eq!(parse_instant("2h ago", now)?, Timestamp::from_secs_nanos(992_800, 0));
/// assert_eq!(parse_instant("1970-01-01T01:00:00+01:00", now)?, Timestamp::EPOCH);
/// assert_eq!(parse_instant("0.5", now)?, Timestamp::from_secs_nanos(0, 500_000_000));
/// # Ok::<(), tapstone::InstantError>(())
/// ```
pub fn parse_instant(text: &str, now: Timestamp) -> Result<Timestamp, InstantError> {
    let trimmed = text.trim();
    let error = || InstantError { text: text.to_owned() };
    if trimmed == "now" {
        return Ok(now);
    }
    if trimmed.ends_with("ago") {
        return ago(trimmed, now).ok_or_else(error);
    }
    if let Some(time) = seconds(trimmed.strip_prefix('@').unwrap_or(trimmed)) {
        return Ok(time);
    }
    if let Ok(time) = trimmed.parse::<jiff::Timestamp>() {
        return Ok(from_jiff(time));
    }
    let civil: DateTime = trimmed.parse().map_err(|_| error())?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| error())?;
    Ok(from_jiff(zoned.timestamp()))
}

/// An instant as RFC 3339 in UTC with nanoseconds; seconds since the epoch where the calendar of
/// RFC 3339 ends. [`parse_instant`] reads both.
#[must_use]
pub fn format_instant(time: Timestamp) -> String {
    let (secs, nanos) = time.secs_nanos();
    let known =
        i64::try_from(secs).ok().and_then(|secs| jiff::Timestamp::new(secs, nanos as i32).ok());
    match known {
        Some(known) => format!("{known:.9}"),
        None => time.to_string(),
    }
}

/// An amount before `now`, in jiff's friendly form (`2h 30m ago`); days are 24 hours, months and
/// years follow the calendar in UTC.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span: Span = text.parse().ok()?;
    let (secs, nanos) = now.secs_nanos();
    let now = jiff::Timestamp::new(i64::try_from(secs).ok()?, i32::try_from(nanos).ok()?).ok()?;
    let then: Zoned = now.to_zoned(TimeZone::UTC).checked_add(span).ok()?;
    Some(from_jiff(then.timestamp()))
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let kept = &fraction[..fraction.len().min(18)];
    let fraction: i128 = format!("{kept:0<18}").parse().ok()?;
    let attos = whole.checked_mul(ATTOS_PER_SEC)?.checked_add(fraction)?;
    Some(Timestamp::from_attos(sign * attos))
}

fn from_jiff(time: jiff::Timestamp) -> Timestamp {
    Timestamp::from_attos(time.as_nanosecond() * tapstone_packet::time::ATTOS_PER_NANO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(i64, u32)>) {
        let now = Timestamp::from_secs_nanos(1_764_039_000, 0);
        let expected = expected.map(|(secs, nanos)| Timestamp::from_secs_nanos(secs, nanos));
        assert_eq!(parse_instant(text, now).ok(), expected, "{text}");
    }

    #[test]
    fn people_write_instants_in_many_ways() {
        check("now", Some((1_764_039_000, 0)));
        check("2h ago", Some((1_764_031_800, 0)));
        check("1d 6h ago", Some((1_764_039_000 - 30 * 3600, 0)));
        check("90 seconds ago", Some((1_764_038_910, 0)));
        check("2025-11-25T02:50:00Z", Some((1_764_039_000, 0)));
        check("2025-11-25T03:50:00.000000001+01:00", Some((1_764_039_000, 1)));
        check("2025-11-25 02:50", Some((1_764_039_000, 0)));
        check("2025-11-25", Some((1_764_028_800, 0)));
        check("1764039000.25", Some((1_764_039_000, 250_000_000)));
        check("@17", Some((17, 0)));
        check("-1.5", Some((-2, 500_000_000)));
    }

    #[test]
    fn what_is_written_is_read() {
        let far = i128::from(u64::MAX) * ATTOS_PER_SEC + ATTOS_PER_SEC / 4;
        // The last was found by fuzzing: its fraction counted the wrong way.
        for attos in [0, -1_500_000_000_000_000_000, far, -far] {
            let time = Timestamp::from_attos(attos);
            assert_eq!(parse_instant(&format_instant(time), Timestamp::EPOCH), Ok(time));
        }
        assert_eq!(format_instant(Timestamp::EPOCH), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "ago", "yesterdayish", "12:00", "1e9", ".5", "2025-13-01", "3 ago"] {
            check(text, None);
        }
    }

    #[test]
    fn seconds_reach_beyond_64_bit_nanoseconds() {
        let time = parse_instant("18446744073709551615", Timestamp::EPOCH).unwrap();
        assert_eq!(time.secs_nanos(), (18_446_744_073_709_551_615, 0));
    }
}
