//! The canonical workload, and the measurements that are made with it.

#![forbid(unsafe_code)]

#[cfg(feature = "live")]
pub mod disk;
#[cfg(feature = "live")]
pub mod group;
#[cfg(feature = "load")]
pub mod hostile;
pub mod large_store;
#[cfg(feature = "live")]
pub mod network;
pub mod packets;
pub mod random;
#[cfg(feature = "load")]
pub mod served;
pub mod workload;
