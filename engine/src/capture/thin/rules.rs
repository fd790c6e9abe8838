//! A thinning, made ready for an interface.

use std::time::Duration;

use tapstone_packet::filter::{Dialect, Program};
use tapstone_packet::interface::{ByteOrder, LinkType};

use super::flows::{ClassNumber, Flow};
use super::{CutOff, ThinError, Thinning, shed};
use crate::effects::{Effects, Shedding};

/// Flows that are remembered where classes are cut off (3 MiB). One that was forgotten has its
/// whole budget again.
const FLOWS: usize = 1 << 17;
/// Classes of a kind: each is asked about the first packet of every flow.
const CLASSES_MAX: usize = 1024;
/// Wider windows are not made wider: what is remembered is bounded, and a packet that was sent anew
/// is none that came twice.
const WINDOW_MAX: Duration = Duration::from_secs(1);

/// A thinning, made ready for an interface.
#[derive(Debug)]
pub(in crate::capture) struct Rules {
    classes: Vec<(Program, u64)>,
    critical: Vec<Program>,
    duplicates: Option<Duration>,
    duplicates_under_pressure: Option<Duration>,
    pub(super) ignore_vlans: bool,
    pub(in crate::capture) link_type: LinkType,
}

impl Rules {
    pub(in crate::capture) fn new(
        thinning: &Thinning,
        interface: &str,
        link_type: LinkType,
    ) -> Result<Rules, ThinError> {
        let dialect = Dialect { link_type, byte_order: ByteOrder::Little };
        let compile = |class: &str| Program::compile(class, dialect);
        let counts = [thinning.cut_off.len(), thinning.critical.len()];
        if let Some(classes) = counts.into_iter().find(|count| *count > CLASSES_MAX) {
            return Err(ThinError::TooMany { classes, most: CLASSES_MAX });
        }
        let cut_off = |CutOff { class, bytes }: &CutOff| {
            let program = compile(class).map_err(|source| {
                let (class, interface) = (class.clone(), interface.to_owned());
                ThinError::Class { class, interface, source }
            });
            program.map(|program| (program, *bytes))
        };
        let critical = |class: &String| {
            compile(class).map_err(|source| {
                let (class, interface) = (class.clone(), interface.to_owned());
                ThinError::Critical { class, interface, source }
            })
        };
        Ok(Rules {
            classes: thinning.cut_off.iter().map(cut_off).collect::<Result<_, _>>()?,
            critical: thinning.critical.iter().map(critical).collect::<Result<_, _>>()?,
            duplicates: thinning.duplicates,
            duplicates_under_pressure: thinning.duplicates_under_pressure,
            ignore_vlans: thinning.ignore_vlans && link_type == LinkType::ETHERNET,
            link_type,
        })
    }

    /// How many flows have to be remembered, if any have.
    pub(super) fn flows(&self, effects: &Effects) -> Option<usize> {
        let cut_off = (!self.classes.is_empty()).then_some(FLOWS / effects.smaller_tables);
        let shed = (effects.shedding > Shedding::No).then_some(shed::FLOWS);
        cut_off.max(shed)
    }

    /// How far back duplicates are looked for, if they are, where that is made so many times wider.
    pub(super) fn window(&self, wider: u32) -> Option<Duration> {
        if wider == 1 {
            return self.duplicates;
        }
        let widened = |window: Duration| window.max((window * wider).min(WINDOW_MAX));
        self.duplicates.map(widened).or(self.duplicates_under_pressure)
    }

    /// The class of a flow that begins with this packet, if it is cut off.
    pub(super) fn class(&self, data: &[u8], original: u32) -> Option<ClassNumber> {
        let place = self.classes.iter().position(|(class, _)| class.matches(data, original))?;
        ClassNumber::new(place as u16 + 1)
    }

    /// Whether as much of a flow is stored as its class may have.
    pub(super) fn is_spent(&self, flow: &Flow) -> bool {
        let budget = |class: ClassNumber| self.classes[usize::from(class.get()) - 1].1;
        flow.class.is_some_and(|class| flow.stored >= budget(class))
    }

    /// Whether a flow that this packet is of is stored whole, whatever else is not.
    pub(super) fn is_critical(&self, data: &[u8], original: u32) -> bool {
        self.critical.iter().any(|class| class.matches(data, original))
    }
}
