//! The flows of an open segment, and what becomes of them when it is sealed.

mod digest;
pub(crate) mod fragments;
pub(crate) mod names;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod tracker;
