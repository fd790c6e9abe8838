//! What the states of PRESSURE and DEGRADED do, in words.

use crate::state::{
    BufferControl, Degraded, DegradedMonitoring, MemoryPressure, NVMeControl, PartialCapture,
    PipelinePressure, Pressure, QueueControl, State, StoragePressure,
};

/// What follows from a state of PRESSURE or DEGRADED for those who use the store; `None` for other
/// states.
#[must_use]
pub const fn consequence(state: State) -> Option<&'static str> {
    match state {
        State::Pressure(measure) => Some(of_measure(measure)),
        State::Degraded(part) => Some(of_part(part)),
        State::Init(_)
        | State::Normal(_)
        | State::Critical(_)
        | State::AwsLifecycle(_)
        | State::Maintenance(_) => None,
    }
}

const fn of_measure(measure: Pressure) -> &'static str {
    match measure {
        Pressure::MemoryPressure(MemoryPressure::BufferControl(it)) => match it {
            BufferControl::AdjustAllocation => {
                "fewer segments and splits are kept open, and questions read less ahead: they take \
                 longer"
            }
            BufferControl::ThrottleIngestion => {
                "packets are taken in smaller portions, and fewer flows and duplicates are \
                 remembered: more is stored than is asked for"
            }
            BufferControl::ForceClear => {
                "what was kept open was given up, and segments were sealed early"
            }
        },
        Pressure::StoragePressure(StoragePressure::NVMeControl(it)) => match it {
            NVMeControl::AdjustWriteRate => {
                "fewer and larger writes: a packet is found up to three seconds after it came, and \
                 the index is later"
            }
            NVMeControl::IncreaseDedupe => {
                "where duplicates are left out, they are looked for over four times the window, up \
                 to a second"
            }
            NVMeControl::ForceFlush => {
                "segments were sealed early, and what may go was let go at once"
            }
        },
        Pressure::PipelinePressure(PipelinePressure::QueueControl(it)) => match it {
            QueueControl::AdjustBatch => {
                "fuller batches: a packet is found up to two seconds after it came"
            }
            QueueControl::ReorderQueues => {
                "packets go before the index, and the index before questions: answers are slower"
            }
            QueueControl::ScaleThreads => "a second thread makes splits while a core is idle",
        },
    }
}

const fn of_part(part: Degraded) -> &'static str {
    match part {
        Degraded::PartialCapture(part) => match part {
            PartialCapture::EvaluateFlows => {
                "nothing is shed yet; which flows are critical, and how large each is, is found out"
            }
            PartialCapture::PrioritizeCritical => {
                "of flows of no critical class the first 64 KiB are stored, and the rest is shed"
            }
            PartialCapture::SuspendNonCritical => {
                "of flows of no critical class the first 4 KiB are stored, of 1,024 new ones a \
                 second for each ring, and the rest is shed"
            }
        },
        Degraded::DegradedMonitoring(part) => match part {
            DegradedMonitoring::ResourceTracking => "the trend of what is scarce is followed",
            DegradedMonitoring::RecoveryPlanning => {
                "it is estimated when that will have recovered, or run out"
            }
            DegradedMonitoring::AlertEscalation => {
                "the log tells of it, more urgently the longer it lasts and the nearer the end is"
            }
        },
    }
}
