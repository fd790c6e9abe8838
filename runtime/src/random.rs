//! Random bytes, for keys and names.

use crate::simulation;

/// Bytes that nobody can guess.
///
/// # Panics
///
/// When the kernel has none, which happens only while a machine boots.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(world) = simulation::world() {
        world.fill_randomly(&mut bytes);
        return bytes;
    }
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(got) => filled += got,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives random bytes once it has booted: {error}"),
        }
    }
    bytes
}
