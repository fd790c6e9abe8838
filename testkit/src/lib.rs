//! What tests of several crates share: where the real captures and the oracle's answers are, and
//! captures in memory.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// The folder of real captures beside the checkout (`../shared/pcaps`), or `None`, with a loud
/// line on stderr, where there is none: a user's clone passes its tests without them.
#[must_use]
pub fn shared_captures(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps");
    if folder.join("truth").is_dir() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED {test}: no captures at {}", folder.display());
    }
    None
}

pub mod captures;
pub mod oracle;
