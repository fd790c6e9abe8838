//! The ledger: the store's own write-ahead log, for what is decided about the store as a whole
//! (docs/format/ledger.md): holds, and the transitions of the storage state machine.
//!
//! A *record* is in force once it is durable and the head says so. Each opening of the store begins
//! a file with the first record that it has, and says in it once more all that is in force; the
//! files before it are of no use then.
//!
//! ```text
//! record ──▶ thread "ledger" (writer.rs) ──▶ DIR/ledger/*.log    records, by commits
//!                                       └──▶ DIR/ledger.head     the file in force, and how far
//! opening (read.rs) ──▶ State (state.rs), which anyone can look at
//! ```

mod handle;
mod head;
mod read;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use handle::LedgerError;
pub(crate) use handle::Running;
pub(crate) use record::{Record, parse_for_fuzzing};
pub(crate) use state::TRANSITIONS;
pub(crate) use writer::Context;

use tapstone_wal::Lsn;

use crate::check::Damage;
use crate::id::StoreId;
use crate::layout::Layout;
use crate::log_files::LENGTH_MAX;

/// A file that has so many bytes is followed by another.
pub(crate) const FILE_SIZE: u64 = 4 << 20;
const _: () = assert!(FILE_SIZE + (32 << 20) <= LENGTH_MAX, "its last commit begins before");

/// What is wrong with the ledger of a store that need not be open.
pub(crate) fn damage_of(layout: &Layout, store: StoreId) -> Vec<Damage> {
    read::read(layout, store).damage
}

/// The number of a file's first record: a record's number says what file it is in.
fn first_of(file: u64) -> Lsn {
    Lsn((file << 32) + 1)
}

/// The file that a record is in.
fn file_of(record: Lsn) -> u64 {
    record.0 >> 32
}
