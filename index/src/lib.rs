//! Where might it be: the split, one sealed segment's flows as one file.
//!
//! A flow is a row. Its addresses, ports and names are terms of a tantivy index whose document
//! numbers are the row numbers; everything else of it is in columns of our own beside the index,
//! because tantivy's would cost more to write than all that is done to the flow's packets
//! (docs/format/split.md). [`SplitBuilder`] makes the file, [`Split`] asks it. The only crate that
//! names tantivy.
//!
//! The answer may name flows that do not match, never leave out one that does.

#![forbid(unsafe_code)]

mod builder;
mod bundle;
mod codec;
mod metadata;
mod rows;
mod set;
mod split;
mod summary;
mod terms;

pub use builder::{BuildError, FlowEntry, SplitBuilder, SplitFile};
pub use bundle::{BundleError, BundleSource};
pub use metadata::{FIELDS, MetadataError, parse_metadata};
pub use rows::FlowRow;
pub use set::FlowSet;
pub use split::{SearchError, Split};
pub use summary::Summary;
