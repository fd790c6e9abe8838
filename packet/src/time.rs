//! Instants as capture files express them, and the arithmetic between ticks and instants.

use std::fmt;

/// Attoseconds in a second.
pub const ATTOS_PER_SEC: i128 = 1_000_000_000_000_000_000;
/// Attoseconds in a nanosecond.
pub const ATTOS_PER_NANO: i128 = 1_000_000_000;

/// An instant: attoseconds (10^-18 s) since the Unix epoch.
///
/// Wide and fine enough for every 64-bit tick count at every decimal resolution down to an
/// attosecond and every `if_tsoffset`, so converting from ticks and back is exact: some real
/// captures lie beyond what 64-bit nanoseconds can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// The Unix epoch; also the time of a packet that came without one, as tcpdump shows it.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The earliest instant that can be expressed.
    pub const MIN: Timestamp = Timestamp(i128::MIN);
    /// The latest instant that can be expressed.
    pub const MAX: Timestamp = Timestamp(i128::MAX);

    /// The instant `attos` attoseconds after the epoch.
    #[must_use]
    pub const fn from_attos(attos: i128) -> Self {
        Timestamp(attos)
    }

    /// The instant `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos as i128 * ATTOS_PER_NANO)
    }

    /// The instant `secs` seconds and `nanos` nanoseconds after the epoch; `nanos` may exceed a
    /// second and is carried.
    #[must_use]
    pub const fn from_secs_nanos(secs: i64, nanos: u32) -> Self {
        Timestamp(secs as i128 * ATTOS_PER_SEC + nanos as i128 * ATTOS_PER_NANO)
    }

    /// Attoseconds since the epoch.
    #[must_use]
    pub const fn attos(self) -> i128 {
        self.0
    }

    /// Whole seconds since the epoch (rounded down) and the nanoseconds within that second
    /// (anything finer is cut).
    #[must_use]
    pub const fn secs_nanos(self) -> (i128, u32) {
        let secs = self.0.div_euclid(ATTOS_PER_SEC);
        let nanos = self.0.rem_euclid(ATTOS_PER_SEC) / ATTOS_PER_NANO;
        (secs, nanos as u32)
    }
}

impl fmt::Display for Timestamp {
    /// Seconds since the epoch with nine decimals, as `tcpdump -tt --nano` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.attos().div_euclid(ATTOS_PER_NANO);
        let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
        write!(f, "{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    }
}

/// How an interface counts time: what one tick is worth, and from where it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeScale {
    /// pcapng's `if_tsresol` byte: the negative power of ten, or of two when the top bit is set.
    pub resolution: u8,
    /// pcapng's `if_tsoffset`: seconds to add to every time.
    pub offset_secs: i64,
}

impl TimeScale {
    /// Microseconds since the epoch: classic pcap, and pcapng's default.
    pub const MICROS: TimeScale = TimeScale { resolution: 6, offset_secs: 0 };
    /// Nanoseconds since the epoch.
    pub const NANOS: TimeScale = TimeScale { resolution: 9, offset_secs: 0 };

    /// Whether [`to_ticks`](Self::to_ticks) gives back what [`to_time`](Self::to_time) was given,
    /// for every tick count: true unless a tick is shorter than an attosecond.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        let power = self.resolution & 0x7f;
        if self.resolution & 0x80 == 0 { power <= 18 } else { power <= 59 }
    }

    /// The instant of a tick count, rounded to the attosecond where a tick is finer.
    #[must_use]
    pub fn to_time(self, ticks: u64) -> Timestamp {
        let power = u32::from(self.resolution & 0x7f);
        let offset = i128::from(self.offset_secs) * ATTOS_PER_SEC;
        let attos = if self.resolution & 0x80 == 0 {
            if power <= 18 {
                i128::from(ticks) * 10i128.pow(18 - power)
            } else {
                10i128
                    .checked_pow(power - 18)
                    .map_or(0, |unit| rounded_div(i128::from(ticks), unit))
            }
        } else {
            binary_to_attos(ticks, power)
        };
        Timestamp(offset + attos)
    }

    /// The tick count of an instant, rounded to the nearest tick; `None` when it lies before the
    /// scale's start or beyond 64 bits.
    #[must_use]
    pub fn to_ticks(self, time: Timestamp) -> Option<u64> {
        let attos = time.0.checked_sub(i128::from(self.offset_secs) * ATTOS_PER_SEC)?;
        if attos < 0 {
            return None;
        }
        let power = u32::from(self.resolution & 0x7f);
        let ticks = if self.resolution & 0x80 == 0 {
            if power <= 18 {
                rounded_div(attos, 10i128.pow(18 - power))
            } else {
                attos.checked_mul(10i128.checked_pow(power - 18)?)?
            }
        } else {
            attos_to_binary(attos, power)?
        };
        u64::try_from(ticks).ok()
    }
}

fn rounded_div(value: i128, unit: i128) -> i128 {
    (value + unit / 2).div_euclid(unit)
}

/// `ticks / 2^power` seconds in attoseconds, whole seconds and fraction apart so that nothing
/// overflows.
fn binary_to_attos(ticks: u64, power: u32) -> i128 {
    let ticks = u128::from(ticks);
    let (secs, fraction) =
        if power >= 64 { (0, ticks) } else { (ticks >> power, ticks & ((1 << power) - 1)) };
    // fraction < 2^64 and 10^18 < 2^60: the product fits in 124 bits.
    let product = fraction * ATTOS_PER_SEC as u128;
    let attos = if power == 0 {
        product
    } else {
        let half = if power <= 127 { 1u128 << (power - 1) } else { 0 };
        (product + half) >> power
    };
    (secs as i128) * ATTOS_PER_SEC + attos as i128
}

fn attos_to_binary(attos: i128, power: u32) -> Option<i128> {
    let secs = attos / ATTOS_PER_SEC;
    let fraction = (attos % ATTOS_PER_SEC) as u128;
    if power > 67 {
        // 2^power ticks a second: only the fraction of a second can be counted in 64 bits.
        return None;
    }
    let ticks = ((fraction << power) + ATTOS_PER_SEC as u128 / 2) / ATTOS_PER_SEC as u128;
    secs.checked_mul(1i128 << power)?.checked_add(ticks as i128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn microseconds_beyond_a_second_are_carried() {
        assert_eq!(
            Timestamp::from_secs_nanos(5, 1_500_000_000),
            Timestamp::from_secs_nanos(6, 500_000_000)
        );
    }

    #[test]
    fn times_before_the_epoch_round_down() {
        assert_eq!(Timestamp::from_nanos(-1).secs_nanos(), (-1, 999_999_999));
    }

    #[test]
    fn every_second_that_64_bits_count_is_an_instant() {
        let scale = TimeScale { resolution: 0, offset_secs: i64::MAX };
        assert_eq!(scale.to_ticks(scale.to_time(u64::MAX)), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn ticks_survive_the_round_trip(ticks: u64, resolution in 0u8..=255, offset_secs: i64) {
            let scale = TimeScale { resolution, offset_secs };
            let time = scale.to_time(ticks);
            if scale.is_exact() {
                prop_assert_eq!(scale.to_ticks(time), Some(ticks));
            }
        }

        #[test]
        fn instants_order_as_ticks_do(a: u64, b: u64, resolution in 0u8..=18) {
            let scale = TimeScale { resolution, offset_secs: 0 };
            prop_assert_eq!(a.cmp(&b), scale.to_time(a).cmp(&scale.to_time(b)));
        }
    }
}
