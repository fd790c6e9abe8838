//! Small numbers as few bytes (LEB128), and columns of one bit width.

pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn take_varint(input: &mut &[u8]) -> Option<u128> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn take_u32(input: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(input)?).ok()
}

pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

pub(crate) fn push_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

pub(crate) fn take_prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(input)?).ok()?;
    take_bytes(input, length)
}

pub(crate) fn zigzag(value: i128) -> u128 {
    ((value << 1) ^ (value >> 127)) as u128
}

pub(crate) fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

/// Bits that numbers up to `max` need.
pub(crate) fn width_of(max: u32) -> u32 {
    32 - max.leading_zeros()
}

/// Packs numbers of `width` bits, least significant bit first.
pub(crate) fn pack(values: &[u32], width: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity((values.len() * width as usize).div_ceil(8) + 8);
    let (mut pending, mut bits) = (0u64, 0);
    for &value in values {
        pending |= u64::from(value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
    }
    out
}

/// Number `index` of what [`pack`] made; zero beyond its end.
pub(crate) fn unpack(packed: &[u8], width: u32, index: usize) -> u32 {
    if width == 0 {
        return 0;
    }
    let bit = index * width as usize;
    let mut window = [0; 8];
    let tail = packed.get(bit / 8..).unwrap_or(&[]);
    match tail.first_chunk::<8>() {
        Some(chunk) => window = *chunk,
        None => window[..tail.len()].copy_from_slice(tail),
    }
    ((u64::from_le_bytes(window) >> (bit % 8)) & ((1u64 << width) - 1)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u128, signed: i128, width in 0u32..=32, values: Vec<u32>) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            push_varint(&mut bytes, zigzag(signed));
            let mut input = &bytes[..];
            prop_assert_eq!(take_varint(&mut input), Some(value));
            prop_assert_eq!(take_varint(&mut input).map(unzigzag), Some(signed));
            let mask = ((1u64 << width) - 1) as u32;
            let masked: Vec<u32> = values.iter().map(|value| value & mask).collect();
            let packed = pack(&masked, width);
            for (index, value) in masked.iter().enumerate() {
                prop_assert_eq!(unpack(&packed, width, index), *value);
            }
        }
    }
}
