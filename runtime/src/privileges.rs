//! What this process may do, given up once it is not needed any more.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// The user that this process acts as.
#[must_use]
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Gives up every capability of this thread, and of all threads that it starts from now on. Open
/// files and sockets stay. Memory may be locked as before: io_uring needs that.
///
/// # Errors
///
/// When the system refuses.
pub fn give_up() -> io::Result<()> {
    // Who may raise the limit may not be able to afterwards. Where it cannot be raised it is not
    // needed, or the shards say so when they start.
    let unlimited = Rlimit { current: None, maximum: None };
    if getrlimit(Resource::Memlock) != unlimited {
        setrlimit(Resource::Memlock, unlimited).ok();
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(set_capabilities(None, sets)?)
}
