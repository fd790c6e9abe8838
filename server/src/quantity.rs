//! Quantities as they are typed: `64MiB`, `10%`, `30d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use tapstone::Free;

/// Bytes: `64MiB`, `10GB`, or a number.
///
/// # Errors
///
/// What it should have been.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1u64 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("", 1),
    ];
    let known = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)));
    let (number, unit) = known.expect("everything ends with nothing");
    let number: u64 = number.trim().parse().map_err(|_| {
        format!("'{text}' is no size; write a number of bytes, or such as 64MiB or 10GB")
    })?;
    number.checked_mul(*unit).ok_or_else(|| format!("'{text}' is too much"))
}

/// A part of a file system: `10%`, or a size.
///
/// # Errors
///
/// What it should have been.
pub(crate) fn free(text: &str) -> Result<Free, String> {
    let Some(number) = text.strip_suffix('%') else { return size(text).map(Free::Bytes) };
    match number.trim().parse() {
        Ok(percent) if percent < 100 => Ok(Free::Percent(percent)),
        _ => Err(format!("'{text}' is no part of a disk; write 10%, or a size such as 200GiB")),
    }
}

/// A part of what there is, in thousandths: `85%`, `97.5%`.
///
/// # Errors
///
/// What it should have been.
pub(crate) fn thousandths(text: &str) -> Result<u16, String> {
    let wrong = || format!("'{text}' is no part of what there is; write such as 85% or 97.5%");
    let number = text.strip_suffix('%').map(str::trim).ok_or_else(wrong)?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(tenth) || tenth.len() != 1 {
        return Err(wrong());
    }
    let parse = |it: &str| it.parse::<u16>().map_err(|_| wrong());
    parse(whole)?
        .checked_mul(10)
        .and_then(|it| it.checked_add(parse(tenth).ok()?))
        .ok_or_else(wrong)
}

/// The same, written.
pub(crate) fn written_thousandths(part: u16) -> String {
    match part % 10 {
        0 => format!("{}%", part / 10),
        tenth => format!("{}.{tenth}%", part / 10),
    }
}

/// For how many hundredths of the time something is done: `10%`.
///
/// # Errors
///
/// What it should have been.
pub(crate) fn share(text: &str) -> Result<u8, String> {
    let share = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
    share
        .filter(|share| (1..=100).contains(share))
        .ok_or_else(|| format!("'{text}' is no share of the time; write 1% to 100%"))
}

/// A stretch of time: `30d`, `12h`, `90min`. A day has 24 hours.
///
/// # Errors
///
/// What it should have been.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let span: Option<Span> = text.parse().ok();
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let age = length.and_then(|length| Duration::try_from(length).ok());
    let age = age.filter(|age| !age.is_zero());
    age.ok_or_else(|| format!("'{text}' is no stretch of time; write such as 30d or 12h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_understood() {
        let sizes = [("0", 0), ("64MiB", 64 << 20), ("10 GB", 10_000_000_000), ("7", 7)];
        for (text, bytes) in sizes {
            assert_eq!(size(text), Ok(bytes));
        }
        assert_eq!(free("10%"), Ok(Free::Percent(10)));
        assert_eq!(free("200GiB"), Ok(Free::Bytes(200 << 30)));
        for (text, part) in [("85%", 850), ("97.5%", 975), ("0%", 0), ("200 %", 2000)] {
            assert_eq!(thousandths(text), Ok(part));
        }
        for part in [0, 5, 850, 975, 1000] {
            assert_eq!(thousandths(&written_thousandths(part)), Ok(part));
        }
        assert_eq!((share("1%"), share("100 %")), (Ok(1), Ok(100)));
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("1h 30m"), Ok(Duration::from_secs(5_400)));
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        for text in ["", "much", "10 QB", "-5", "1.5GiB", "99999999TiB"] {
            let error = size(text).unwrap_err();
            assert!(error.contains("is no size") || error.contains("too much"), "{error}");
        }
        for text in ["100%", "-1%", "%"] {
            assert!(free(text).unwrap_err().contains("no part of a disk"), "{text}");
        }
        for text in ["", "10", "0%", "101%", "1.5%", "-1%"] {
            assert!(share(text).unwrap_err().contains("no share of the time"), "{text}");
        }
        for text in ["", "85", "%", ".5%", "8.%", "8.55%", "-1%", "+1%", "9999%", "99999%"] {
            assert!(thousandths(text).unwrap_err().contains("no part of what there is"), "{text}");
        }
        for text in ["", "30", "soon", "0s", "-3d", "3mo"] {
            assert!(age(text).unwrap_err().contains("no stretch of time"), "{text}");
        }
    }
}
