//! The canonical workload, and the measurements that are made with it.

#![forbid(unsafe_code)]

pub mod packets;
pub mod random;
pub mod workload;
