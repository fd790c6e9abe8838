//! The bytes of a record (docs/format/ledger.md, "Records").

use tapstone_packet::time::Timestamp;

use crate::bits::take_bytes;
use crate::holds::Hold;
use crate::state::Transition;

/// What of a hold's times is there: when it begins,
const HAS_SINCE: u8 = 1;
/// and when it ends.
const HAS_UNTIL: u8 = 2;
/// A program that does not know a kind from here on may pass its records over.
const MAY_BE_PASSED_OVER: u8 = 128;
/// A transition: no hold depends on it, so a program that does not know it has nothing to doubt.
const TRANSITION: u8 = 128;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A file begins: what is in force follows, and what was recorded before is void.
    Begun {
        /// Whether something may be missing of it.
        in_doubt: bool,
        /// The largest number that a hold ever had.
        last_hold: u64,
    },
    /// A hold is in force.
    Held(Hold),
    /// The hold of this number is in force no more.
    Lifted(u64),
    /// Somebody who looked says that nothing is missing.
    Vouched,
    /// The storage state machine went from one state to another.
    Transition(Transition),
    /// A newer program's, which may be passed over: its bytes.
    Other(Vec<u8>),
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Record::Begun { in_doubt, last_hold } => {
                [&[1, u8::from(*in_doubt)][..], &last_hold.to_le_bytes()].concat()
            }
            Record::Held(hold) => encode_hold(hold),
            Record::Lifted(id) => [&[3][..], &id.to_le_bytes()].concat(),
            Record::Vouched => vec![4],
            Record::Transition(transition) => [&[TRANSITION][..], &transition.encode()].concat(),
            Record::Other(bytes) => bytes.clone(),
        }
    }

    /// Reads a record; why it cannot be read, when it cannot.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, &'static str> {
        const SENSELESS: &str = "it makes no sense";
        let (&kind, mut input) = bytes.split_first().ok_or(SENSELESS)?;
        let input = &mut input;
        let record = match kind {
            1 => decode_begun(input),
            2 => decode_hold(input).map(Record::Held),
            3 => take_u64(input).map(Record::Lifted),
            4 => Some(Record::Vouched),
            MAY_BE_PASSED_OVER.. => return Ok(decode_transition(kind, input, bytes)),
            _ => return Err("a newer Tapstone wrote it"),
        };
        record.filter(|_| input.is_empty()).ok_or(SENSELESS)
    }
}

fn decode_begun(input: &mut &[u8]) -> Option<Record> {
    let in_doubt = match take::<1>(input)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Record::Begun { in_doubt, last_hold: take_u64(input)? })
}

/// One that is written in a newer way is carried along as it is.
fn decode_transition(kind: u8, content: &[u8], record: &[u8]) -> Record {
    let transition = (kind == TRANSITION).then(|| Transition::decode(content)).flatten();
    transition.map_or_else(|| Record::Other(record.to_vec()), Record::Transition)
}

fn encode_hold(hold: &Hold) -> Vec<u8> {
    let flag = |time: Option<Timestamp>, flag| if time.is_some() { flag } else { 0 };
    let mut bytes = vec![2, flag(hold.since, HAS_SINCE) | flag(hold.until, HAS_UNTIL)];
    bytes.extend(hold.id.to_le_bytes());
    bytes.extend(hold.added.attos().to_le_bytes());
    for time in [hold.since, hold.until] {
        bytes.extend(time.map_or(0, Timestamp::attos).to_le_bytes());
    }
    for text in [&hold.filter, &hold.metadata, &hold.reason, &hold.by] {
        let length = u32::try_from(text.len()).expect("texts are within HOLD_TEXT_MAX");
        bytes.extend(length.to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn decode_hold(input: &mut &[u8]) -> Option<Hold> {
    let [flags] = take::<1>(input)?;
    if flags & !(HAS_SINCE | HAS_UNTIL) != 0 {
        return None;
    }
    let id = take_u64(input)?;
    let added = take_time(input)?;
    let mut bound = |flag| {
        let time = take_time(input)?;
        let is_there = flags & flag != 0;
        (is_there || time == Timestamp::EPOCH).then_some(is_there.then_some(time))
    };
    let (since, until) = (bound(HAS_SINCE)?, bound(HAS_UNTIL)?);
    let mut text = || {
        let length = u32::from_le_bytes(take(input)?);
        String::from_utf8(take_bytes(input, length as usize)?.to_vec()).ok()
    };
    let (filter, metadata, reason, by) = (text()?, text()?, text()?, text()?);
    Some(Hold { id, since, until, filter, metadata, reason, by, added })
}

fn take_time(input: &mut &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_attos(i128::from_le_bytes(take(input)?)))
}

fn take_u64(input: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(input)?))
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}

/// Reads bytes as a record.
pub(crate) fn parse_for_fuzzing(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::state::EventKind;

    pub(crate) fn hold(id: u64) -> Hold {
        Hold {
            id,
            since: Some(Timestamp::from_secs_nanos(-5, 7)),
            until: None,
            filter: "host 10.0.0.1".into(),
            metadata: "sni:example.com".into(),
            reason: "the incident of März".into(),
            by: "alice".into(),
            added: Timestamp::from_secs_nanos(1_795_000_000, 1),
        }
    }

    pub(crate) fn transition(sequence: u64) -> Transition {
        Transition {
            sequence,
            unix_nanos: 1_795_000_000_000_000_000 + sequence,
            from: "INIT / WarmUp / ReadyState".parse().ok(),
            to: "NORMAL / OptimalFlow / ZeroCopyActive / DirectMemory".parse().unwrap(),
            event: EventKind::Done,
            why: "ReadyState is done".into(),
        }
    }

    fn samples() -> Vec<Record> {
        let bare = Hold {
            since: None,
            until: Some(Timestamp::MAX),
            filter: String::new(),
            metadata: String::new(),
            ..hold(u64::MAX)
        };
        vec![
            Record::Begun { in_doubt: true, last_hold: 7 },
            Record::Begun { in_doubt: false, last_hold: 0 },
            Record::Held(hold(3)),
            Record::Held(bare),
            Record::Lifted(9),
            Record::Vouched,
            Record::Transition(transition(3)),
            Record::Other(vec![200, 1, 2, 3]),
        ]
    }

    #[test]
    fn records_survive_their_encoding_and_no_part_of_one_is_one() {
        for record in samples() {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record.clone()));
            if matches!(record, Record::Transition(_) | Record::Other(_)) {
                continue;
            }
            for length in 0..bytes.len() {
                assert!(Record::decode(&bytes[..length]).is_err(), "{record:?} cut to {length}");
            }
            assert!(Record::decode(&[&bytes[..], &[0]].concat()).is_err(), "{record:?} and more");
        }
    }

    #[test]
    fn a_newer_program_says_whether_its_records_may_be_passed_over() {
        assert_eq!(Record::decode(&[5, 1]), Err("a newer Tapstone wrote it"));
        assert_eq!(Record::decode(&[127]), Err("a newer Tapstone wrote it"));
        assert_eq!(Record::decode(&[129, 7]), Ok(Record::Other(vec![129, 7])));
        assert!(Record::decode(&[]).is_err());
    }

    /// No hold is in doubt for a transition that this program does not understand.
    #[test]
    fn what_is_no_transition_is_carried_along() {
        let bytes = Record::Transition(transition(3)).encode();
        for length in 1..bytes.len() {
            let cut = bytes[..length].to_vec();
            assert_eq!(Record::decode(&cut), Ok(Record::Other(cut)), "cut to {length}");
        }
        let newer = [&[TRANSITION, 2], &bytes[2..]].concat();
        assert_eq!(Record::decode(&newer), Ok(Record::Other(newer)));
    }

    #[test]
    fn bytes_that_mean_nothing_are_not_passed_over() {
        let mut bytes = encode_hold(&hold(3));
        bytes[1] |= 4;
        assert!(Record::decode(&bytes).is_err(), "a flag that there is not");
        let mut bytes = encode_hold(&Hold { until: None, ..hold(3) });
        bytes[42] = 1;
        assert!(Record::decode(&bytes).is_err(), "an end of what has none");
        assert!(Record::decode(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(Record::decode(&[2; 400]).is_err());
    }
}
