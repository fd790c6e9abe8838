//! The machine against its specification, and over many sequences of events.

mod flapping;
mod sequences;
mod specification;
mod stories;
mod world;
