//! The interface as others rely on it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod frozen;
