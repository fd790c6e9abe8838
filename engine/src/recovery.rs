//! A crash's way back: gather what there is, plan what to do, do it.
//!
//! Gathering changes nothing. The plan is a pure function of what was gathered. Each step can be
//! repeated: a crash during recovery only means recovering again. Segments that a crash left open
//! are finished from what verifies and never appended to again.

mod apply;
mod gather;
mod plan;

use std::sync::Arc;

use tapstone_runtime::file::FileError;

use crate::builder::{Builder, SealError};
use crate::catalog::CatalogError;
use crate::query::Missing;
use crate::replay::ReplayError;
use crate::segment::reader::{OpenSegmentError, Segment};

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
    /// Segments that could not be finished, and what verifies of them.
    pub(crate) unfinished: Vec<Arc<Segment>>,
    /// Acknowledged packets that are not in their place.
    pub(crate) lost: Vec<Missing>,
    /// What is wrong and cannot be put right.
    pub(crate) damage: Vec<String>,
}

impl Recovered {
    fn tell(&mut self, damage: impl IntoIterator<Item = String>) {
        for text in damage {
            tracing::error!("{text}");
            self.damage.push(text);
        }
    }
}

/// Puts a store in order.
pub(crate) fn recover(builder: &Builder) -> Result<Recovered, RecoverError> {
    let facts = gather::gather(builder)?;
    let steps = plan::plan(&facts);
    apply::apply(builder, facts, steps)
}
