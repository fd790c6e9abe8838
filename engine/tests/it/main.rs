//! The store as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod backing_up;
mod cleaning;
mod clock;
mod corruption;
mod effects;
mod exactness;
mod expiring;
mod frozen;
mod holding;
mod importing;
mod keeping;
mod killed;
mod paging;
mod planning;
mod querying;
mod reporting;
mod scrubbing;
mod shedding;
mod simulated;
mod support;
