//! What is left out on arrival because it was asked for: flows beyond a budget of bytes, and
//! packets that came twice.

mod budget;
mod duplicates;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tapstone_packet::filter::{Dialect, FilterError, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

use super::loss::LossCause;
use crate::import::batch::Batch;
use budget::Budgets;
use duplicates::Duplicates;

/// What is left out on arrival. Nothing, unless something is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thinning {
    /// Classes of flows of which only the first bytes are stored. The first one that a flow's first
    /// packet matches is the flow's; a flow that matches none is stored whole.
    pub cut_off: Vec<CutOff>,
    /// A packet is left out when the same bytes came from the same interface so recently.
    pub duplicates: Option<Duration>,
    /// Whether packets that differ only in their VLAN tags are the same.
    pub ignore_vlans: bool,
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
}

/// A thinning, made ready for an interface.
#[derive(Debug)]
pub(super) struct Rules {
    classes: Vec<(Program, u64)>,
    window: Option<Duration>,
    ignore_vlans: bool,
    link_type: LinkType,
}

impl Rules {
    pub(super) fn new(
        thinning: &Thinning,
        interface: &str,
        link_type: LinkType,
    ) -> Result<Rules, ThinError> {
        let dialect = Dialect { link_type, byte_order: ByteOrder::Little };
        let compile = |CutOff { class, bytes }: &CutOff| {
            let (class, interface) = (class.clone(), interface.to_owned());
            match Program::compile(&class, dialect) {
                Ok(program) => Ok((program, *bytes)),
                Err(source) => Err(ThinError::Class { class, interface, source }),
            }
        };
        Ok(Rules {
            classes: thinning.cut_off.iter().map(compile).collect::<Result<_, _>>()?,
            window: thinning.duplicates,
            ignore_vlans: thinning.ignore_vlans && link_type == LinkType::ETHERNET,
            link_type,
        })
    }

    /// What a flow may have stored, if there is a bound, whose first packet this is.
    fn budget(&self, data: &[u8], original: u32) -> Option<u64> {
        let mut classes = self.classes.iter();
        classes.find(|(class, _)| class.matches(data, original)).map(|(_, bytes)| *bytes)
    }
}

/// An interface's rules, which can be exchanged while packets come.
#[derive(Debug)]
pub(super) struct Exchangeable {
    rules: Mutex<Arc<Rules>>,
    /// Counts the exchanges.
    version: AtomicU64,
}

impl Exchangeable {
    pub(super) fn new(rules: Rules) -> Exchangeable {
        Exchangeable { rules: Mutex::new(Arc::new(rules)), version: AtomicU64::new(0) }
    }

    pub(super) fn exchange(&self, rules: Rules) {
        *self.rules.lock().expect("no holder of the lock panics") = Arc::new(rules);
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn link_type(&self) -> LinkType {
        self.rules.lock().expect("no holder of the lock panics").link_type
    }
}

/// Thins what comes from one ring. All memory is taken when the rules are read.
pub(super) struct Thinner {
    from: Arc<Exchangeable>,
    version: u64,
    rules: Arc<Rules>,
    budgets: Option<Budgets>,
    duplicates: Option<Duplicates>,
}

impl Thinner {
    pub(super) fn new(from: Arc<Exchangeable>) -> Thinner {
        let version = from.version.load(Ordering::Acquire);
        let rules = Arc::clone(&from.rules.lock().expect("no holder of the lock panics"));
        let budgets = (!rules.classes.is_empty()).then(|| Budgets::new(rules.link_type));
        let duplicates = rules.window.map(|window| Duplicates::new(window, rules.ignore_vlans));
        Thinner { from, version, rules, budgets, duplicates }
    }

    /// Takes new rules, where there are some. Every flow has its whole budget then.
    pub(super) fn keep_up(&mut self) {
        if self.from.version.load(Ordering::Acquire) != self.version {
            *self = Thinner::new(Arc::clone(&self.from));
        }
    }

    /// Why the last packet of a batch is left out, if it is.
    pub(super) fn judge(&mut self, batch: &Batch) -> Option<LossCause> {
        if self.duplicates.is_none() && self.budgets.is_none() {
            return None;
        }
        let record = batch.records.last()?;
        let (data, original) = (batch.data(record), record.original);
        // Of a packet that was cut it is not known whether it is the same.
        if let Some(duplicates) = self.duplicates.as_mut().filter(|_| record.captured == original)
            && duplicates.is_one(data, record.time)
        {
            return Some(LossCause::Duplicate);
        }
        let budget = || self.rules.budget(data, original);
        let spent = self.budgets.as_mut()?.is_spent(data, record.time, budget);
        spent.then_some(LossCause::CutOff)
    }
}

#[cfg(test)]
mod tests {
    use tapstone_packet::time::Timestamp;

    use super::*;
    use crate::import::batch::Record;

    const NOTHING: Option<LossCause> = None;

    /// UDP from one port to another, tagged or not, of so many bytes.
    fn udp(ports: (u16, u16), vlan: Option<u16>, length: usize) -> Vec<u8> {
        let mut data = vec![2; 12];
        if let Some(vlan) = vlan {
            data.extend([0x81, 0]);
            data.extend(vlan.to_be_bytes());
        }
        data.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(ports.0.to_be_bytes());
        data.extend(ports.1.to_be_bytes());
        data.resize(length, 0);
        data
    }

    fn thinner(thinning: &Thinning) -> Thinner {
        let rules = Rules::new(thinning, "eth0", LinkType::ETHERNET).unwrap();
        Thinner::new(Arc::new(Exchangeable::new(rules)))
    }

    fn judge(
        thinner: &mut Thinner,
        data: &[u8],
        millis: i64,
        original: usize,
    ) -> Option<LossCause> {
        let mut batch = Batch::empty();
        batch.arena.extend_from_slice(data);
        batch.records.push(Record {
            time: Timestamp::from_nanos(millis * 1_000_000),
            offset: 0,
            captured: data.len() as u32,
            original: original as u32,
            interface: 0,
        });
        thinner.judge(&batch)
    }

    fn cut_off(class: &str, bytes: u64) -> CutOff {
        CutOff { class: class.to_owned(), bytes }
    }

    #[test]
    fn the_first_bytes_of_every_flow_are_kept() {
        let classes = vec![cut_off("udp port 53", 0), cut_off("udp", 250)];
        let mut thinner = thinner(&Thinning { cut_off: classes, ..Thinning::default() });
        let mut judge = |ports| judge(&mut thinner, &udp(ports, None, 100), 0, 100);
        for _ in 0..3 {
            assert_eq!(judge((1, 2)), NOTHING);
        }
        assert_eq!(judge((1, 2)), Some(LossCause::CutOff), "300 of 250 bytes are stored");
        assert_eq!(judge((2, 1)), NOTHING, "its addresses are not exchanged: another flow");
        assert_eq!(judge((1, 53)), Some(LossCause::CutOff), "the first class counts");
    }

    #[test]
    fn a_flow_of_no_class_is_stored_whole() {
        let classes = vec![cut_off("tcp", 0)];
        let mut thinner = thinner(&Thinning { cut_off: classes, ..Thinning::default() });
        for millis in 0..100 {
            assert_eq!(judge(&mut thinner, &udp((1, 2), None, 1000), millis, 1000), NOTHING);
        }
    }

    #[test]
    fn the_same_bytes_are_stored_once_within_the_window() {
        let window = Some(Duration::from_millis(50));
        let mut thinner = thinner(&Thinning { duplicates: window, ..Thinning::default() });
        let (data, other) = (udp((1, 2), None, 100), udp((1, 3), None, 100));
        let mut judge = |data: &[u8], millis| judge(&mut thinner, data, millis, 100);
        assert_eq!(judge(&data, 0), NOTHING);
        assert_eq!(judge(&other, 1), NOTHING);
        assert_eq!(judge(&data, 50), Some(LossCause::Duplicate));
        assert_eq!(judge(&data, 51), NOTHING, "the one that is stored is longer ago");
        assert_eq!(judge(&data, 90), Some(LossCause::Duplicate));
        assert_eq!(judge(&data[..99], 90), NOTHING, "it was cut");
    }

    #[test]
    fn tags_are_looked_past_when_that_is_asked_for() {
        let ms = Some(Duration::from_millis(50));
        let (plain, tagged) = (udp((1, 2), None, 100), udp((1, 2), Some(7), 104));
        for (ignore_vlans, expected) in [(false, NOTHING), (true, Some(LossCause::Duplicate))] {
            let thinning = Thinning { duplicates: ms, ignore_vlans, ..Thinning::default() };
            let mut thinner = thinner(&thinning);
            assert_eq!(judge(&mut thinner, &plain, 0, 100), NOTHING);
            assert_eq!(judge(&mut thinner, &tagged, 1, 104), expected);
        }
    }

    #[test]
    fn rules_can_be_exchanged() {
        let mut thinner = thinner(&Thinning::default());
        let data = udp((1, 2), None, 100);
        assert_eq!(judge(&mut thinner, &data, 0, 100), NOTHING);
        let thinning = Thinning { cut_off: vec![cut_off("udp", 0)], ..Thinning::default() };
        let from = Arc::clone(&thinner.from);
        from.exchange(Rules::new(&thinning, "eth0", from.link_type()).unwrap());
        assert_eq!(judge(&mut thinner, &data, 0, 100), NOTHING, "nobody has looked");
        thinner.keep_up();
        assert_eq!(judge(&mut thinner, &data, 0, 100), Some(LossCause::CutOff));
    }

    #[test]
    fn a_class_that_is_no_filter_is_refused() {
        let thinning = Thinning { cut_off: vec![cut_off("udp prot 5", 0)], ..Thinning::default() };
        let error = Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap_err().to_string();
        assert!(error.starts_with("cut-off class 'udp prot 5' for eth0: "), "{error}");
    }
}
