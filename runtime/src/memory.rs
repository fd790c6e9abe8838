//! Memory that was freed and that the allocator keeps, to be quicker the next time.

/// Gives it back to the system. Somebody who has to free memory frees none otherwise, as far as the
/// system knows.
pub fn give_back() {
    trim();
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe wrapper asks for it")]
fn trim() {
    // SAFETY: it is given no memory of ours, touches only what was freed, and takes the allocator's
    // own locks; any thread may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators keep what they keep.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of memory that the process has.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_was_freed_in_small_pieces_goes_back() {
        // The last one stays, and keeps the heap from shrinking by itself.
        let mut pieces: Vec<Vec<u8>> = (0..64 << 10).map(|_| vec![1; 1 << 10]).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = resident();
        give_back();
        let after = resident();
        assert!(after + (32 << 20) <= before, "{before} {after}");
        drop(last);
    }
}
