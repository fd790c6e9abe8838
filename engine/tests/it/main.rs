//! The store as its users see it.

mod exactness;
mod support;
