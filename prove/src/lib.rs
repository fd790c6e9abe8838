//! Power cuts, proved on real file systems.
//!
//! A [workload] is run on a mounted file system whose device logs every write and flush ([stack],
//! [log]). Afterwards the log is cut at every entry, the writes that no flush had made durable are
//! kept, dropped or torn by lot ([fate]), and the store on the resulting [image] is opened and
//! [checked](check): every packet that had been acknowledged before the cut must be there, once
//! and byte for byte, and nothing that was never imported.
//!
//! Reading the log, choosing what survives, and knowing what must be found are pure functions;
//! the rest is a thin shell around processes and mounts.

#![forbid(unsafe_code)]

pub mod again;
pub mod check;
pub mod fate;
pub mod image;
pub mod log;
pub mod mounted;
pub mod perform;
pub mod replay;
pub mod stack;
pub mod trial;
pub mod workload;

/// What stops the harness itself; a store that breaks its promise after a power cut is a
/// [`trial::Failure`] instead, and one that breaks it while it is alive a [`Broken`].
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A store gave a wrong answer while it was alive.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);
