//! The store as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod corruption;
mod exactness;
mod expiring;
mod frozen;
mod holding;
mod importing;
mod keeping;
mod paging;
mod planning;
mod querying;
mod simulated;
mod support;
