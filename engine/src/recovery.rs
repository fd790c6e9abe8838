//! A crash's way back: gather what there is, plan what to do, do it.
//!
//! Gathering changes nothing. The plan is a pure function of what was gathered. Each step can be
//! repeated: a crash during recovery only means recovering again. Segments that a crash left open
//! are finished from what verifies and never appended to again. Finishing and indexing wait until
//! packets are taken in again; meanwhile what verifies is read as it is.

mod apply;
mod gather;
mod plan;

use std::collections::VecDeque;

use tapstone_runtime::file::FileError;

use crate::builder::{Builder, SealError};
use crate::catalog::CatalogError;
use crate::query::Missing;
use crate::replay::ReplayError;
use crate::segment::reader::OpenSegmentError;

pub(crate) use apply::{Later, apply_later};

/// Why a store could not be put in order.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A folder or file cannot be read.
    #[error("recovery: {0}")]
    File(#[from] FileError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A segment cannot be opened.
    #[error("recovery: {0}")]
    Open(#[from] OpenSegmentError),
    /// A segment's flows cannot be followed.
    #[error("recovery: {0}")]
    Replay(#[from] ReplayError),
    /// A segment cannot be indexed.
    #[error("recovery: {0}")]
    Index(#[from] SealError),
}

/// What recovery leaves.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Larger than the sequence number of any segment there ever was.
    pub(crate) next_sequence: u32,
    /// Acknowledged packets that are not in their place.
    pub(crate) lost: Vec<Missing>,
    /// What is left to do, in this order.
    pub(crate) later: VecDeque<Later>,
}

/// Puts a store in order, as far as taking packets in and answering depend on it.
pub(crate) fn recover(builder: &Builder) -> Result<Recovered, RecoverError> {
    let facts = gather::gather(builder)?;
    let steps = plan::plan(&facts);
    apply::apply(builder, facts, steps)
}
