//! The packet crate against real captures and against libpcap.

mod captures;
mod names;
mod narrowing;
mod verdicts;
