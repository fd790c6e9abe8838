//! What is left out on arrival: because it was asked for, flows beyond a budget of bytes and packets
//! that came twice; and while not everything can be stored, what matters least.

mod duplicates;
mod flows;
mod rules;
mod shed;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tapstone_packet::filter::FilterError;

use super::loss::LossCause;
use crate::effects::{Effects, Orders};
use crate::exchangeable::{Exchangeable, Follower};
use crate::import::batch::Batch;
use duplicates::Duplicates;
use flows::Flows;
pub(super) use rules::Rules;
pub use shed::ShedFlow;
use shed::Shedder;

/// What is left out on arrival. Nothing, unless something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinning {
    /// Classes of flows of which only the first bytes are stored. The first one that a flow's first
    /// packet matches is the flow's; a flow that matches none is stored whole.
    pub cut_off: Vec<CutOff>,
    /// A packet is left out when the same bytes came from the same interface so recently.
    pub duplicates: Option<Duration>,
    /// The same where no window is given, but only under pressure on the disk.
    pub duplicates_under_pressure: Option<Duration>,
    /// Whether packets that differ only in their VLAN tags are the same.
    pub ignore_vlans: bool,
    /// Classes of flows that are stored whole while not everything can be, each a pcap filter; the
    /// first packet of a flow that comes then decides.
    pub critical: Vec<String>,
}

/// A class of flows, and how much of each is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// A pcap filter that a flow's first packet matches.
    pub class: String,
    /// Captured bytes: packets that come when so many are stored are left out.
    pub bytes: u64,
}

/// Why packets cannot be thinned as asked.
#[derive(Debug, thiserror::Error)]
pub enum ThinError {
    /// A class is no filter for an interface.
    #[error("cut-off class '{class}' for {interface}: {source}")]
    Class {
        /// The class.
        class: String,
        /// The interface.
        interface: String,
        /// Why.
        source: FilterError,
    },
    /// The same of a critical class.
    #[error("critical class '{class}' for {interface}: {source}")]
    Critical {
        /// The class.
        class: String,
        /// The interface.
        interface: String,
        /// Why.
        source: FilterError,
    },
    /// Each class is asked about the first packet of every flow.
    #[error("{classes} classes are too many; write {most} at most, such as 'port 80 or port 443'")]
    TooMany {
        /// How many there are.
        classes: usize,
        /// How many there may be.
        most: usize,
    },
}

/// Why a packet is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    Duplicate,
    CutOff,
    Shed(ShedFlow),
}

impl LeftOut {
    pub(super) const fn cause(self) -> LossCause {
        match self {
            LeftOut::Duplicate => LossCause::Duplicate,
            LeftOut::CutOff => LossCause::CutOff,
            LeftOut::Shed(_) => LossCause::Shed,
        }
    }
}

/// Thins what comes from one ring. All memory is taken when rules or effects are read.
pub(super) struct Thinner {
    rules: Follower<Arc<Rules>>,
    effects: Follower<Effects>,
    /// While flows are cut off, or something is shed.
    flows: Option<Flows>,
    duplicates: Option<Duplicates>,
    shedder: Shedder,
}

impl Thinner {
    pub(super) fn new(rules: Arc<Exchangeable<Arc<Rules>>>, orders: &Orders) -> Thinner {
        let (rules, effects) = (Follower::new(rules), orders.follow());
        let (flows, duplicates, shedder) = (None, None, Shedder::default());
        let mut thinner = Thinner { rules, effects, flows, duplicates, shedder };
        thinner.adjust();
        thinner
    }

    /// Takes new rules and effects, where there are some. Where rules were exchanged, every flow
    /// has its whole budget then.
    pub(super) fn keep_up(&mut self) {
        let exchanged = self.rules.keep_up();
        if exchanged {
            (self.flows, self.duplicates) = (None, None);
        }
        if self.effects.keep_up() || exchanged {
            self.adjust();
        }
    }

    /// Takes and gives back memory as the rules and the effects ask for.
    fn adjust(&mut self) {
        let (rules, effects) = (self.rules.seen(), self.effects.seen());
        self.shedder.level = effects.shedding;
        match rules.flows(effects) {
            None => self.flows = None,
            Some(flows) => match &mut self.flows {
                Some(known) => known.resize(flows),
                None => self.flows = Some(Flows::new(rules.link_type, flows)),
            },
        }
        let packets = duplicates::PACKETS / effects.smaller_tables;
        match rules.window(effects.wider_window) {
            None => self.duplicates = None,
            Some(window) => match &mut self.duplicates {
                Some(known) => known.adjust(window, packets),
                None => {
                    self.duplicates = Some(Duplicates::new(window, rules.ignore_vlans, packets));
                }
            },
        }
    }

    /// Why the last packet of a batch is left out, if it is.
    pub(super) fn judge(&mut self, batch: &Batch) -> Option<LeftOut> {
        if self.duplicates.is_none() && self.flows.is_none() {
            return None;
        }
        let record = batch.records.last()?;
        let (data, original) = (batch.data(record), record.original);
        // Of a packet that was cut it is not known whether it is the same.
        if let Some(duplicates) = self.duplicates.as_mut().filter(|_| record.captured == original)
            && duplicates.is_one(data, record.time)
        {
            return Some(LeftOut::Duplicate);
        }
        let rules = self.rules.seen();
        let flow = self.flows.as_mut()?.of(data, record.time, || rules.class(data, original));
        if rules.is_spent(flow) {
            return Some(LeftOut::CutOff);
        }
        let is_critical = || rules.is_critical(data, original);
        let shed = self.shedder.judge(flow, record.time, is_critical);
        if shed.is_none() {
            flow.stored += data.len() as u64;
        }
        shed.map(LeftOut::Shed)
    }
}
