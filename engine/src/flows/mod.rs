//! The flows of an open segment, and what becomes of them when it is sealed.

pub(crate) mod fragments;
pub(crate) mod names;
mod prints;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod tracker;
