//! Planning: from what is asked to the blocks that must be read.

mod slices;

use std::collections::HashMap;
use std::sync::Arc;

use tapstone_index::{FlowSet, MetadataError, SearchError, Split, Summary, parse_metadata};
use tapstone_packet::filter::{Dialect, FilterError, Program};
use tapstone_packet::interface::{ByteOrder, Interface, LinkType};
use tapstone_packet::predicate::{NameTest, Net, PathTest, Predicate};
use tapstone_packet::time::Timestamp;

use super::Selection;
use super::completeness::{Missing, Refused};
use super::found::Position;
use super::instant::format_instant;
use crate::capture::loss::{Loss, LossCause};
use crate::catalog::{CatalogError, SegmentRow};
use crate::id::{SegmentId, StoreId};
use crate::segment::block;
use crate::segment::description::BlockPlace;
use crate::segment::reader::{OpenSegmentError, Segment};
use crate::shard::OpenView;
use crate::store::{Store, span};
use crate::unindexed::UnindexedSegment;

/// Why a query cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The pcap filter is refused, for every link type in the store.
    #[error("filter: {0}")]
    Filter(#[from] FilterError),
    /// The metadata query cannot be understood.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The time range ends before it begins.
    #[error(
        "the time range ends ({}) before it begins ({}); exchange since and until",
        format_instant(*until), format_instant(*since)
    )]
    TimeRange {
        /// Where it begins.
        since: Timestamp,
        /// Where it ends.
        until: Timestamp,
    },
    /// The cursor is of another store's answer.
    #[error("the cursor belongs to another store ({0}); begin anew without it")]
    ForeignCursor(StoreId),
    /// The time range has too many bars of the width asked for.
    #[error("that would be {0} bars, and 10000 are the most; choose wider bars or less time")]
    TooManyBars(i128),
    /// What there is cannot be looked up.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// What must be read, and what cannot be.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One a unit, ordered by the earliest position of what it may give.
    pub(crate) jobs: Vec<Job>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) range: (Timestamp, Timestamp),
}

/// Part of one unit.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Arc<Target>,
    /// Index into the segment's units.
    pub(crate) unit: usize,
    /// Ordinals of the blocks to be read, ascending.
    pub(crate) blocks: Vec<u32>,
    /// Packets at other times are not wanted.
    pub(crate) range: (Timestamp, Timestamp),
    /// Packets up to here were given before.
    pub(crate) after: Option<Position>,
    /// Nothing that it gives comes before.
    pub(crate) from: Position,
}

impl Job {
    /// The times that its packets may have.
    pub(crate) fn times(&self) -> (Timestamp, Timestamp) {
        let times = self.places().map(|place| (place.time_min, place.time_max));
        let (first, last) = span(times).unwrap_or((self.range.0, self.range.0));
        (first.max(self.range.0), last.min(self.range.1))
    }

    /// Bytes of its blocks.
    pub(crate) fn bytes(&self) -> u64 {
        self.places().map(|place| u64::from(place.length)).sum()
    }

    fn places(&self) -> impl Iterator<Item = BlockPlace> {
        let unit = &self.target.segment.map.units[self.unit];
        self.blocks.iter().map(|number| unit.place(*number))
    }
}

/// A segment, what of its flows may match, and how its packets are judged.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) segment: Arc<Segment>,
    /// `None` when every flow may.
    pub(crate) flows: Option<FlowSet>,
    /// The verdict for each of the segment's interfaces.
    pub(crate) verdicts: Vec<Verdict>,
}

/// How packets of an interface are judged.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    All,
    None,
    Program(Arc<Program>),
    /// The first, where there is one, and any of the others.
    Within(Option<Arc<Program>>, Arc<[Arc<Program>]>),
}

impl Verdict {
    /// Whether a packet matches.
    #[inline]
    pub(crate) fn of(&self, data: &[u8], original: u32) -> bool {
        match self {
            Verdict::All => true,
            Verdict::None => false,
            Verdict::Program(program) => program.matches(data, original),
            Verdict::Within(program, any) => {
                program.as_ref().is_none_or(|program| program.matches(data, original))
                    && any.iter().any(|program| program.matches(data, original))
            }
        }
    }
}

/// What is asked, in the store's terms.
#[derive(Debug)]
pub(crate) struct Question {
    filter: Option<Filter>,
    /// One of which must match too, when there are any.
    within: Vec<Filter>,
    /// On the flows, from the metadata query.
    metadata: Predicate,
    /// On the flows, from both.
    flows: Predicate,
    range: (Timestamp, Timestamp),
    /// Whether it is about a certain time, and not about what there is.
    bounded: bool,
    after: Option<Position>,
}

/// A filter, compiled for every kind of packet in the store.
#[derive(Debug, Default)]
struct Filter {
    programs: HashMap<Dialect, Verdict>,
    refused: Vec<Refused>,
}

impl Question {
    pub(crate) fn new(store: &Store, selection: &Selection) -> Result<Question, QueryError> {
        let since = selection.since.unwrap_or(Timestamp::MIN);
        let until = selection.until.unwrap_or(Timestamp::MAX);
        if since > until {
            return Err(QueryError::TimeRange { since, until });
        }
        if let Some(foreign) = selection.after.filter(|it| it.store != store.id()) {
            return Err(QueryError::ForeignCursor(foreign.store));
        }
        let after = selection.after.map(|after| after.position).filter(|it| it.time >= since);
        let since = after.map_or(since, |after| after.time.min(until));
        let metadata = with_cached_names(parse_metadata(&selection.metadata)?, store)?;
        let filter = match selection.filter.trim() {
            "" => None,
            expression => Some(Filter::compile(expression, store)?),
        };
        let within = selection.within.iter().map(|expression| {
            // Of what it cannot be asked, nothing may be seen.
            let refused = |error| match error {
                QueryError::Filter(_) => Ok(Filter::default()),
                other => Err(other),
            };
            Filter::compile(expression, store).or_else(refused)
        });
        let within = within.collect::<Result<Vec<_>, _>>()?;
        let narrowed = filter.as_ref().map_or(Predicate::All, Filter::narrow);
        let visible = within.iter().map(Filter::narrow).reduce(Predicate::or);
        let flows = metadata.clone().and(narrowed).and(visible.unwrap_or(Predicate::All));
        let (range, bounded) = ((since, until), selection.since.is_some());
        Ok(Question { filter, within, metadata, flows, range, bounded, after })
    }

    fn verdict(&self, interface: &Interface) -> Verdict {
        let dialect = dialect_of(interface);
        let verdict = self.filter.as_ref().map_or(Verdict::All, |filter| filter.verdict(dialect));
        if self.within.is_empty() {
            return verdict;
        }
        let program = match verdict {
            Verdict::All => None,
            Verdict::Program(program) => Some(program),
            Verdict::None | Verdict::Within(..) => return Verdict::None,
        };
        let visible = self.within.iter().filter_map(|filter| match filter.verdict(dialect) {
            Verdict::Program(program) => Some(program),
            Verdict::All | Verdict::None | Verdict::Within(..) => None,
        });
        Verdict::Within(program, visible.collect())
    }
}

impl Filter {
    fn compile(expression: &str, store: &Store) -> Result<Filter, QueryError> {
        let mut filter = Filter::default();
        let mut first_refusal = None;
        let mut accepted = false;
        let mut dialects = store.dialects()?;
        if dialects.is_empty() {
            // Nothing to ask it of: still say what is wrong with it.
            let (link_type, byte_order) = (LinkType::ETHERNET, ByteOrder::Little);
            dialects.push(Dialect { link_type, byte_order });
        }
        for dialect in dialects {
            let verdict = match Program::compile(expression, dialect) {
                Ok(program) => {
                    accepted = true;
                    Verdict::Program(Arc::new(program))
                }
                Err(FilterError::RejectsAll(_)) => {
                    accepted = true;
                    Verdict::None
                }
                Err(error @ (FilterError::Refused { .. } | FilterError::Unavailable(_))) => {
                    if error.is_syntax() {
                        return Err(error.into());
                    }
                    let link_type = dialect.link_type;
                    filter.refused.push(Refused { link_type, reason: error.to_string() });
                    first_refusal.get_or_insert(error);
                    Verdict::None
                }
                Err(error) => return Err(error.into()),
            };
            filter.programs.insert(dialect, verdict);
        }
        match first_refusal {
            Some(error) if !accepted => Err(error.into()),
            _ => Ok(filter),
        }
    }

    fn verdict(&self, dialect: Dialect) -> Verdict {
        self.programs.get(&dialect).cloned().unwrap_or(Verdict::None)
    }

    /// A condition on the flows of all packets that match, whatever their link type.
    fn narrow(&self) -> Predicate {
        let narrowed = |(dialect, verdict): (&Dialect, &Verdict)| match verdict {
            Verdict::All => Predicate::All,
            Verdict::None | Verdict::Within(..) => Predicate::None,
            Verdict::Program(program) => {
                let link_type = Predicate::Path(PathTest::LinkType(dialect.link_type));
                match (program.narrow(), self.programs.len()) {
                    (narrowed, 1) => narrowed,
                    (narrowed, _) => link_type.and(narrowed),
                }
            }
        };
        self.programs.iter().map(narrowed).fold(Predicate::None, Predicate::or)
    }
}

pub(crate) fn dialect_of(interface: &Interface) -> Dialect {
    Dialect { link_type: interface.link_type, byte_order: interface.byte_order }
}

/// A test for names of any kind also holds for flows to an address that DNS gave for the name.
fn with_cached_names(predicate: Predicate, store: &Store) -> Result<Predicate, CatalogError> {
    let all = |parts: Vec<Predicate>| -> Result<Vec<Predicate>, CatalogError> {
        parts.into_iter().map(|part| with_cached_names(part, store)).collect()
    };
    Ok(match predicate {
        Predicate::And(parts) => Predicate::And(all(parts)?),
        Predicate::Or(parts) => Predicate::Or(all(parts)?),
        Predicate::Not(part) => Predicate::Not(Box::new(with_cached_names(*part, store)?)),
        Predicate::Name(NameTest { kinds, pattern }) if kinds.is_empty() => {
            let addresses = store.addresses_of(&pattern)?.into_iter();
            let nets = addresses.map(|address| {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                Predicate::Net(Net { address, prefix })
            });
            let mut parts = vec![Predicate::Name(NameTest { kinds, pattern })];
            parts.extend(nets);
            Predicate::Or(parts)
        }
        other => other,
    })
}

impl Plan {
    fn empty(question: &Question) -> Plan {
        Plan {
            jobs: Vec::new(),
            missing: Vec::new(),
            refused: question.filter.as_ref().map_or(Vec::new(), |it| it.refused.clone()),
            range: question.range,
        }
    }

    /// Decides what must be read of one sealed segment. What was lost while it was written is not
    /// in it.
    pub(crate) fn of_segment(
        store: &Store,
        question: &Question,
        id: SegmentId,
        row: &SegmentRow,
    ) -> Plan {
        let mut plan = Plan::empty(question);
        let searched = match question.flows {
            Predicate::None => return plan,
            Predicate::All => Searched::Everything,
            _ => search(store, id, &question.flows),
        };
        plan.add_searched(store, question, (id, row), searched);
        plan.in_order()
    }

    /// Decides what must be read.
    pub(crate) fn new(store: &Store, question: &Question) -> Result<Plan, QueryError> {
        let mut plan = Plan::empty(question);
        if question.flows == Predicate::None {
            return Ok(plan);
        }
        // Before segments are looked at: what is written meanwhile may be told twice.
        plan.add_losses(None, store.pending_losses().into_iter());
        // In the order in which a segment wanders, so that one that wanders meanwhile is met at
        // least once; the second time it is left out.
        let mut seen = Vec::new();
        for OpenView { segment, flows } in store.look_at_open_segments(&question.flows) {
            seen.push(segment.id());
            plan.add_losses(Some(segment.id()), segment.map.losses());
            plan.add(question, segment, flows);
        }
        for UnindexedSegment { segment, flows, .. } in store.inner.unindexed.list() {
            if seen.contains(&segment.id()) {
                continue;
            }
            seen.push(segment.id());
            plan.add_losses(Some(segment.id()), segment.map.losses());
            match flows {
                _ if question.flows == Predicate::All => plan.add(question, segment, None),
                Some(flows) => {
                    let matching = flows.matching(&question.flows);
                    let blocks = flows.blocks_of(&matching);
                    plan.add(question, segment, Some((matching, blocks)));
                }
                None if question.metadata == Predicate::All => plan.add(question, segment, None),
                None => {
                    let times = segment.map.times();
                    plan.missing.push(Missing::unindexed(segment.id(), times));
                }
            }
        }
        plan.add_sealed(store, question, &seen)?;
        let (since, until) = plan.range;
        let lost = store.lost().iter();
        let lost = lost.filter(|lost| block::overlaps((lost.first, lost.last), since, until));
        plan.missing.extend(lost.cloned());
        // Who asks for no certain time asks for what there is.
        if question.bounded {
            let expired = store.expired()?.into_iter();
            let expired = expired.filter(|it| block::overlaps((it.first, it.last), since, until));
            plan.missing.extend(expired.map(|it| Missing::expired(&it)));
        }
        Ok(plan.in_order())
    }

    fn in_order(mut self) -> Plan {
        self.jobs = slices::slice(self.jobs);
        self.jobs.sort_by_key(|job| job.from);
        self
    }

    /// Segments whose time and summary allow it: their splits are asked, and only those that have
    /// candidates are opened.
    fn add_sealed(
        &mut self,
        store: &Store,
        question: &Question,
        seen: &[SegmentId],
    ) -> Result<(), QueryError> {
        let catalog = &store.inner.catalog;
        let rows = &catalog.segments()?.rows;
        let (since, until) = question.range;
        let in_time = rows.iter().filter(|(id, row)| {
            block::overlaps((row.first, row.last), since, until) && !seen.contains(id)
        });
        let mut ids: Vec<SegmentId> = in_time.map(|(id, _)| *id).collect();
        for id in &ids {
            // Nobody knows what was in the packets that were lost.
            self.add_losses(Some(*id), rows[id].losses.iter().copied());
        }
        let may_match = |summary: Summary<'_>| summary.may_match(&question.flows);
        let mut may_match = catalog.ask_summaries(&ids, may_match)?.into_iter();
        ids.retain(|_| may_match.next().flatten().unwrap_or(true));
        let searched = search_all(store, &ids, &question.flows);
        for (id, searched) in ids.into_iter().zip(searched) {
            self.add_searched(store, question, (id, &rows[&id]), searched);
        }
        Ok(())
    }

    /// A sealed segment, when its split was asked.
    fn add_searched(
        &mut self,
        store: &Store,
        question: &Question,
        (id, row): (SegmentId, &SegmentRow),
        searched: Searched,
    ) {
        let times = (row.first, row.last);
        let flows = match searched {
            Searched::Everything => None,
            Searched::Found(flows, _) if flows.is_empty() => return,
            Searched::Found(flows, blocks) => Some((flows, blocks)),
            // Without its index a segment is read whole: slower, and the same answer, unless
            // the question is one that only the index can answer.
            Searched::Failed(_) if question.metadata == Predicate::All => None,
            Searched::Failed(error) => {
                return self.missing.push(Missing::index(id, times, &error));
            }
        };
        match store.segment(id) {
            Ok(segment) => {
                let found = segment.map.packets();
                if found < row.packets {
                    let what = "its end is damaged, and with it where the rest of it is";
                    self.missing.push(Missing::segment(id, times, row.packets - found, &what));
                }
                self.add(question, segment, flows);
            }
            Err(error) => {
                self.missing.push(Missing::segment(id, times, row.packets, &error));
            }
        }
    }

    /// Says what was lost within the time asked for.
    fn add_losses(&mut self, segment: Option<SegmentId>, losses: impl Iterator<Item = Loss>) {
        let (since, until) = self.range;
        // A duplicate is there once.
        let losses = losses.filter(|loss| loss.cause != LossCause::Duplicate);
        let losses = losses.filter(|loss| block::overlaps((loss.first, loss.last), since, until));
        self.missing.extend(losses.map(|loss| Missing::lost(segment, &loss)));
    }

    /// A segment, all of it, or some flows of it and the blocks that they are in.
    fn add(
        &mut self,
        question: &Question,
        segment: Arc<Segment>,
        flows: Option<(FlowSet, Vec<u32>)>,
    ) {
        let (flows, blocks) = flows.unzip();
        if flows.as_ref().is_some_and(FlowSet::is_empty) {
            return;
        }
        let verdicts = segment.interfaces.iter().map(|it| question.verdict(it)).collect();
        let target = Arc::new(Target { segment, flows, verdicts });
        let segment = &target.segment;
        for (index, unit) in segment.map.units.iter().enumerate() {
            let wanted = |number: &u32| {
                let place = unit.place(*number);
                let times = (place.time_min, place.time_max);
                block::overlaps(times, question.range.0, question.range.1)
                    && blocks.as_ref().is_none_or(|blocks| blocks.binary_search(number).is_ok())
            };
            let numbers = unit.first_block..unit.first_block + unit.blocks.len() as u32;
            let blocks: Vec<u32> = numbers.filter(wanted).collect();
            let Some(time) = blocks.iter().map(|number| unit.place(*number).time_min).min() else {
                continue;
            };
            let time = time.max(question.range.0);
            let from =
                Position { time, segment: segment.id().sequence(), unit: unit.number, rank: 0 };
            let (target, range, after) = (Arc::clone(&target), question.range, question.after);
            self.jobs.push(Job { target, unit: index, blocks, range, after, from });
        }
    }
}

/// What a split said.
enum Searched {
    /// It was not asked: every flow may match.
    Everything,
    Found(FlowSet, Vec<u32>),
    Failed(String),
}

/// Threads that ask splits: on a cold disk each waits most of the time.
const SEARCHERS: usize = 8;

/// Asks the splits of many segments.
fn search_all(store: &Store, ids: &[SegmentId], flows: &Predicate) -> Vec<Searched> {
    if *flows == Predicate::All {
        return ids.iter().map(|_| Searched::Everything).collect();
    }
    // What is open answers sooner than a thread begins.
    let open = |id: &SegmentId| store.kept_split(*id).map(|split| search_split(&split, flows));
    let mut searched: Vec<Option<Searched>> = ids.iter().map(open).collect();
    let others = ids.iter().zip(&searched).filter(|(_, searched)| searched.is_none());
    let others: Vec<SegmentId> = others.map(|(id, _)| *id).collect();
    let mut others =
        tapstone_runtime::map(&others, SEARCHERS, |id| search(store, *id, flows)).into_iter();
    for missing in searched.iter_mut().filter(|searched| searched.is_none()) {
        *missing = others.next();
    }
    searched.into_iter().map(|it| it.expect("the others were asked")).collect()
}

fn search(store: &Store, id: SegmentId, flows: &Predicate) -> Searched {
    match store.split(id) {
        Ok(split) => search_split(&split, flows),
        Err(error) => Searched::Failed(error.to_string()),
    }
}

fn search_split(split: &Split, flows: &Predicate) -> Searched {
    let found = split.candidates(flows).and_then(|found| {
        let blocks = split.blocks(&found)?;
        Ok((found, blocks))
    });
    match found {
        Ok((found, blocks)) => Searched::Found(found, blocks),
        Err(error) => Searched::Failed(error.to_string()),
    }
}

/// Why a split cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenSplitError {
    /// Its file cannot be read.
    #[error(transparent)]
    File(#[from] OpenSegmentError),
    /// Its content cannot be.
    #[error(transparent)]
    Content(#[from] SearchError),
}
