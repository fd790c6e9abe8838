//! The packet crate against real captures and against libpcap.

mod captures;
mod narrowing;
mod verdicts;
