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

/// Pieces of memory this large go back to the system as soon as they are freed, in the whole process.
const LARGE: i32 = 1 << 20;

/// From now on lets large pieces go back as soon as they are freed. glibc learns otherwise to take
/// pieces of up to 32 MiB from where small ones lie, which then keep what was freed between them: the
/// process seems to need more and more.
pub fn give_back_large() {
    map_large();
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe wrapper sets it")]
fn map_large() {
    // SAFETY: it is given no memory, sets a number of the allocator's under its own lock, and any
    // thread may call it at any time (mallopt(3)).
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other allocators keep what they keep.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

/// And map what they map.
#[cfg(not(target_env = "gnu"))]
fn map_large() {}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Who looks at the memory of the process.
    static LOOKING: Mutex<()> = Mutex::new(());

    /// Bytes of memory that the process has.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_was_freed_in_small_pieces_goes_back() {
        let _looking = LOOKING.lock();
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

    /// A recorder had twice the memory that it needed after ten minutes.
    #[test]
    #[cfg(target_env = "gnu")]
    fn what_was_freed_in_large_pieces_goes_back_at_once() {
        let _looking = LOOKING.lock();
        give_back_large();
        // By this glibc would learn to take the next ones from elsewhere.
        drop(vec![1u8; 30 << 20]);
        let piece = |_| (vec![1u8; 4 << 20], vec![1u8; 64]);
        let (large, small): (Vec<_>, Vec<_>) = (0..48).map(piece).unzip();
        let before = resident();
        drop(large);
        let after = resident();
        // Others come and go beside it.
        assert!(after + (96 << 20) <= before, "{before} {after}");
        drop(small);
    }
}
