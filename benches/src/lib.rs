//! The canonical workload, and the measurements that are made with it.

#![forbid(unsafe_code)]

pub mod large_store;
pub mod packets;
pub mod random;
pub mod workload;
