//! The store in a simulated world, where everything that can happen to a disk does
//! (docs/reliability.md). One seed decides a life, its order and its faults.
//!
//! `SEEDS=1000` tries that many, `SEED=17` that one. A seed that fails becomes a test of its own.

mod backing_up;
mod expiry;
mod faults;
mod life;
mod model;
mod power_cuts;
mod seeds;
