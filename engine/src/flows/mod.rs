//! The flows of an open segment, and what becomes of them when it is sealed.

mod by_flow;
pub(crate) mod fragments;
pub(crate) mod names;
mod prints;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod tracker;
