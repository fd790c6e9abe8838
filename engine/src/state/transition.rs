//! A transition, as it is recorded.
//!
//! States and events are written by their names and not by numbers: the names are those of the
//! specification, so they are as stable as numbers would be; a log that is looked at by other means
//! says what it means; and there are too few transitions for the bytes to matter.

use serde::{Deserialize, Serialize};

use super::edge::Edge;
use super::event::EventKind;
use super::states::State;

/// The version of the encoding.
const VERSION: u8 = 1;
/// Most bytes that say why.
const WHY_MAX: usize = 1024;

/// The machine went from one state to another, or what holds beside the state changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Its number: from 1, through the life of the store.
    pub sequence: u64,
    /// When, in nanoseconds since the epoch; the clock may be set back.
    pub unix_nanos: u64,
    /// The state that was shown before; `None` at a start. The same as `to` where only what holds
    /// beside it changed.
    pub from: Option<State>,
    /// The state that is shown since.
    pub to: State,
    /// What led to it.
    pub event: EventKind,
    /// Why, with what was measured.
    pub why: String,
}

impl Transition {
    /// The edge that was gone along, where it led to another outermost state.
    #[must_use]
    pub fn edge(&self) -> Option<Edge> {
        Edge::between(self.from?.top(), self.to.top())
    }

    /// With no more words than are recorded.
    pub(super) fn bounded(mut self) -> Transition {
        self.why.truncate(self.why.floor_char_boundary(WHY_MAX));
        self
    }

    /// As bytes: version (1), sequence number (8), nanoseconds (8), little-endian; then the state
    /// before (nothing at a start), the state since, the event, and why, each as its length (2) and
    /// its text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let from = self.from.map(|from| from.to_string()).unwrap_or_default();
        let why = &self.why[..self.why.floor_char_boundary(WHY_MAX)];
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.unix_nanos.to_le_bytes());
        for text in [&from, &self.to.to_string(), self.event.name(), why] {
            let length = u16::try_from(text.len()).expect("names and reasons are short");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when a newer program wrote it, or it is
    /// none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Transition> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (unix_nanos, mut rest) = rest.split_first_chunk()?;
        let from = match text(&mut rest)? {
            "" => None,
            from => Some(from.parse().ok()?),
        };
        let transition = Transition {
            sequence: u64::from_le_bytes(*sequence),
            unix_nanos: u64::from_le_bytes(*unix_nanos),
            from,
            to: text(&mut rest)?.parse().ok()?,
            event: EventKind::of_name(text(&mut rest)?)?,
            why: text(&mut rest).filter(|why| why.len() <= WHY_MAX)?.to_owned(),
        };
        rest.is_empty().then_some(transition)
    }
}

fn text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = input.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *input = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_transition() -> impl Strategy<Value = Transition> {
        let states = || select(State::all());
        let event = select(EventKind::ALL.to_vec());
        (any::<(u64, u64)>(), proptest::option::of(states()), states(), event, ".{0,300}").prop_map(
            |((sequence, unix_nanos), from, to, event, why)| {
                Transition { sequence, unix_nanos, from, to, event, why }.bounded()
            },
        )
    }

    proptest! {
        #[test]
        fn a_transition_survives_its_encoding_and_a_part_of_it_is_none(
            transition in any_transition(),
        ) {
            let bytes = transition.encode();
            prop_assert_eq!(Transition::decode(&bytes), Some(transition));
            for length in 0..bytes.len() {
                prop_assert_eq!(Transition::decode(&bytes[..length]), None);
            }
            prop_assert_eq!(Transition::decode(&[&bytes[..], &[0]].concat()), None);
        }

        #[test]
        fn whatever_is_read_is_written_as_it_was(
            transition in any_transition(), at: prop::sample::Index, byte: u8,
        ) {
            let mut bytes = transition.encode();
            *at.get_mut(&mut bytes) = byte;
            if let Some(read) = Transition::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }

    /// What version 1 is, byte for byte.
    #[test]
    fn the_bytes_of_version_1_stay() {
        let transition = Transition {
            sequence: 2,
            unix_nanos: 3,
            from: "INIT / WarmUp / ReadyState".parse().ok(),
            to: "NORMAL / OptimalFlow / IndexActive".parse().unwrap(),
            event: EventKind::Done,
            why: "é".to_owned(),
        };
        let expected = b"\x01\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\
            \x1a\0INIT / WarmUp / ReadyState\x22\0NORMAL / OptimalFlow / IndexActive\
            \x04\0done\x02\0\xc3\xa9";
        assert_eq!(transition.encode(), expected);
        assert_eq!(Transition::decode(expected), Some(transition.clone()));
        let start = Transition { from: None, event: EventKind::Start, ..transition };
        assert_eq!(Transition::decode(&start.encode()), Some(start));
        let newer = [&[2], &expected[1..]].concat();
        assert_eq!(Transition::decode(&newer), None);
    }

    #[test]
    fn too_many_words_are_cut_between_letters() {
        let why = "é".repeat(1000);
        let (to, event) = (State::all()[0], EventKind::Start);
        let transition =
            Transition { sequence: 1, unix_nanos: 1, from: None, to, event, why }.bounded();
        assert_eq!(transition.why.len(), WHY_MAX);
        let unbounded = Transition { why: "é".repeat(1000), ..transition.clone() };
        assert_eq!(unbounded.encode(), transition.encode());
    }
}
