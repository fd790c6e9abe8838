//! Segments: one shard's packets over one time span, in one file (docs/format/segment.md).
//!
//! ```text
//! header | unit | unit | ... | footer | trailer
//!          └─ block block ... unit end, description, zeros to the next page
//!             └─ header (clear) + sealed(directory + packet bytes) + tag
//! ```
//!
//! [`writer`] streams units to an open file and finishes it; [`reader`] reads a sealed one;
//! [`scan`] finds what verifies in one that was left open.

pub(crate) mod at_disk;
pub(crate) mod block;
pub(crate) mod description;
pub(crate) mod directory;
pub(crate) mod footer;
pub(crate) mod format;
pub(crate) mod reader;
pub(crate) mod region;
pub(crate) mod scan;
pub(crate) mod split_file;
pub(crate) mod writer;
