//! Why holds cannot be changed.

use super::{HOLD_TEXT_MAX, HOLDS_MAX};
use crate::ledger::LedgerError;
use crate::query::QueryError;

/// Why a hold could not be added, removed or accepted.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Filter, metadata query or time range cannot be asked for.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The time range ends where it begins.
    #[error("the time range is empty: it ends where it begins; choose a later until")]
    EmptyRange,
    /// Nobody says why.
    #[error("a hold needs a reason, for those who wonder about it later")]
    NoReason,
    /// The texts are too long.
    #[error(
        "filter, metadata query, reason and name have {length} bytes together, and \
         {HOLD_TEXT_MAX} are the most; shorten them, or make two holds"
    )]
    TooLong {
        /// Their bytes, together.
        length: usize,
    },
    /// There are too many.
    #[error("there are {HOLDS_MAX} holds, which are the most; remove one first")]
    TooMany,
    /// There is none of that number.
    #[error("there is no hold {0}; tapstone hold list shows those that there are")]
    Unknown(u64),
    /// It cannot be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
