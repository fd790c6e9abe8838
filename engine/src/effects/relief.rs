//! ForceClear and ForceFlush: what is done once, when the measure is taken.

use tapstone_runtime::memory;

use crate::retention::{ExpireError, ExpireReport, Retention};
use crate::shard::{Command, IngestError};
use crate::state::{
    Action, BufferControl, MemoryPressure, NVMeControl, Pressure, State, StoragePressure,
};
use crate::store::Store;

/// What is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Memory is given back: nothing is kept open, and open segments are sealed, so that their flow
    /// tables go when their splits are made.
    Clear,
    /// Room is made: open segments are sealed, and what retention lets go goes at once.
    Flush,
}

/// Why not everything could be done.
#[derive(Debug, thiserror::Error)]
pub enum ReliefError {
    /// A segment could not be sealed.
    #[error("a segment could not be sealed early: {0}")]
    Seal(#[from] IngestError),
    /// Nothing could be let go.
    #[error(transparent)]
    Expire(#[from] ExpireError),
}

impl Relief {
    /// What is to be done when a state begins; most have nothing that is done once.
    #[must_use]
    pub const fn of(action: Action) -> Option<Relief> {
        let Action::Begin(State::Pressure(measure)) = action else { return None };
        match measure {
            Pressure::MemoryPressure(MemoryPressure::BufferControl(BufferControl::ForceClear)) => {
                Some(Relief::Clear)
            }
            Pressure::StoragePressure(StoragePressure::NVMeControl(NVMeControl::ForceFlush)) => {
                Some(Relief::Flush)
            }
            Pressure::MemoryPressure(_)
            | Pressure::StoragePressure(_)
            | Pressure::PipelinePressure(_) => None,
        }
    }
}

impl Store {
    /// Does what is done once; `retention` is what is configured. It may take as long as making a
    /// few splits: call it on a thread that has the time. Packets are taken meanwhile.
    ///
    /// # Errors
    ///
    /// When a segment cannot be sealed, or what has to go cannot. All that can be done is done
    /// before the first error is given.
    pub fn relieve(
        &self,
        relief: Relief,
        retention: &Retention,
    ) -> Result<ExpireReport, ReliefError> {
        if relief == Relief::Clear {
            self.inner.recent_files.clear();
        }
        let sealed = self.seal_early();
        let expired = match relief {
            Relief::Clear => {
                memory::give_back();
                Ok(ExpireReport::default())
            }
            Relief::Flush => self.expire(retention),
        };
        sealed?;
        Ok(expired?)
    }

    /// Seals what is open; its index is made later.
    pub(crate) fn seal_early(&self) -> Result<(), IngestError> {
        let answers = self.ask_all(Command::SealEarly).into_iter();
        let answers = answers.map(|answer| answer.unwrap_or(Err(IngestError::Lost)));
        answers.fold(Ok(()), Result::and)
    }
}
