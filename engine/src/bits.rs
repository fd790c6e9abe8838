//! Numbers packed into as few bits and bytes as they need: the columns of a block's directory.

/// Appends values of a fixed bit width, least significant bit first.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u128,
    pending_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        BitWriter { out, pending: 0, pending_bits: 0 }
    }

    /// Appends the low `width` bits (0 to 64) of `value`, whose other bits must be zero.
    #[inline]
    pub(crate) fn push(&mut self, value: u64, width: u32) {
        debug_assert!(width == 64 || value >> width == 0, "value {value} is wider than {width}");
        self.pending |= u128::from(value) << self.pending_bits;
        self.pending_bits += width;
        while self.pending_bits >= 64 {
            self.out.extend_from_slice(&(self.pending as u64).to_le_bytes());
            self.pending >>= 64;
            self.pending_bits -= 64;
        }
    }

    /// Writes what is left, filled with zero bits to a whole byte.
    pub(crate) fn finish(self) {
        let bytes = self.pending_bits.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
    }
}

/// A column of values of one bit width, as [`BitWriter`] packs them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitColumn<'a> {
    bytes: &'a [u8],
    width: u32,
}

impl<'a> BitColumn<'a> {
    /// Takes the column of `count` values off the front of `input`; `None` when it is cut short
    /// or wider than 64 bits.
    pub(crate) fn take(input: &mut &'a [u8], count: usize, width: u32) -> Option<Self> {
        if width > 64 {
            return None;
        }
        let length = packed_len(count, width);
        let (bytes, rest) = input.split_at_checked(length)?;
        *input = rest;
        Some(BitColumn { bytes, width })
    }

    /// Value number `index`; zero beyond the end of the column.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> u64 {
        if self.width == 0 {
            return 0;
        }
        let bit = index * self.width as usize;
        let (byte, shift) = (bit / 8, bit % 8);
        let mut window = [0u8; 16];
        let tail = self.bytes.get(byte..).unwrap_or(&[]);
        if let Some(chunk) = tail.first_chunk::<16>() {
            window = *chunk;
        } else {
            window[..tail.len()].copy_from_slice(tail);
        }
        let value = (u128::from_le_bytes(window) >> shift) as u64;
        if self.width == 64 { value } else { value & ((1 << self.width) - 1) }
    }
}

/// Bytes that `count` values of `width` bits take.
pub(crate) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Bits that `value` needs.
pub(crate) fn width_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Appends an unsigned number, seven bits a byte, least significant first (LEB128).
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As [`push_varint`], for 128 bits.
pub(crate) fn push_varint_wide(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number that [`push_varint`] wrote off the front of `input`; `None` when it is cut
/// short or does not fit 64 bits.
pub(crate) fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// As [`take_varint`], for 128 bits.
pub(crate) fn take_varint_wide(input: &mut &[u8]) -> Option<u128> {
    let mut value = 0u128;
    for shift in (0..128).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u128::from(byte & 0x7f);
        if shift == 126 && bits > 3 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes `length` bytes off the front of `input`.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_give_back_what_was_packed(
            width in 0u32..=64,
            values in proptest::collection::vec(any::<u64>(), 0..200),
        ) {
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for value in &values {
                writer.push(value & mask, width);
            }
            writer.finish();
            prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
            let mut input = &bytes[..];
            let column = BitColumn::take(&mut input, values.len(), width).unwrap();
            prop_assert!(input.is_empty());
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(column.get(index), value & mask);
            }
        }

        #[test]
        fn varints_give_back_what_was_written(value: u64, wide: u128, shift in 0u32..128) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            push_varint_wide(&mut bytes, wide >> shift);
            let mut input = &bytes[..];
            prop_assert_eq!(take_varint(&mut input), Some(value));
            prop_assert_eq!(take_varint_wide(&mut input), Some(wide >> shift));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(bytes: Vec<u8>, width in 0u32..80) {
            let _ = (take_varint(&mut &bytes[..]), take_varint_wide(&mut &bytes[..]));
            if let Some(column) = BitColumn::take(&mut &bytes[..], 5, width) {
                column.get(4);
            }
        }
    }
}
