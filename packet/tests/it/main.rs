//! The packet crate against real captures and against libpcap.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod captures;
mod names;
mod narrowing;
mod verdicts;
