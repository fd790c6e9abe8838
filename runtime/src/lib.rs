//! What we ask of the world: files, the clock, tasks on cores. The only crate that names glommio.
//!
//! [`Shards`] are the cores: one glommio executor each, pinned, on a thread of its own; where
//! io_uring is refused, a plain thread each. On a shard, [`file::DirectFile`] and
//! [`appender::Appender`] do direct I/O. [`blocking`] is for the threads that are not shards. Within
//! a [`simulation`] all of it happens in memory, as a seed decides. [`packet_ring`] gives the live
//! packets of a network interface, [`packet_source`] those that libpcap knows to capture too.
//!
//! What is assumed of the disk:
//!
//! 1. A write whose completion reported its whole length, followed by a successful `fdatasync` of
//!    the same file, survives a power cut. Neither alone does.
//! 2. A failed write or a failed `fdatasync` says nothing about what is on the disk, and a later
//!    successful `fdatasync` does not heal it: failures latch.
//! 3. A write may be torn at any multiple of 512 bytes, and unsynced writes may reach the disk in
//!    any order or not at all.
//! 4. A rename is atomic, and durable once the directory has been synced.

#![deny(unsafe_code)]

mod aligned;
pub mod appender;
pub mod blocking;
pub mod clock;
pub mod cores;
pub mod direct_writer;
pub mod file;
pub mod lock;
pub mod memory;
pub mod packet_ring;
pub mod packet_source;
pub mod privileges;
pub mod probe;
mod random;
mod shards;
pub mod simulation;
mod threads;

pub use random::random_bytes;
pub use shards::{
    Shards, Spawned, StartError, Task, TaskClass, TaskLost, aside, sleep, spawn_local,
    yield_if_needed,
};
pub use simulation::is_real;
pub use threads::{Thread, block_on, block_on_within, map, patiently, spawn_thread};

/// Direct writes begin and end at multiples of this many bytes: the largest physical sector met,
/// so that no write of ours makes a disk rewrite part of a sector it holds already.
pub const ALIGNMENT: usize = 4096;
