//! Asking a split.

mod directory;

use std::io;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::{Arc, Mutex, OnceLock};

use directory::BundleDirectory;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, Index, InvertedIndexReader, ReloadPolicy, SegmentReader, TERMINATED};
use tapstone_packet::flow::Path;
use tapstone_packet::names::NameKind;
use tapstone_packet::predicate::{FlowView, NamePattern, NameTest, Net, PathTest, Predicate};

use crate::bundle::{Bundle, BundleError, BundleSource};
use crate::codec::{take_prefixed, take_varint, unpack, width_of};
use crate::rows::{GROUP, group_count, read_group};
use crate::terms::{Fields, ip_term, name_term, schema};
use crate::{FlowRow, FlowSet};

/// Rows of which the row itself is looked at rather than the whole column of paths.
const FEW: usize = 64;

/// Why a split cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The file cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The index in it cannot be read.
    #[error("split: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    /// A part of it cannot be read.
    #[error("split: {0}")]
    Io(#[from] io::Error),
}

/// An open split: cheap to keep, safe to share.
pub struct Split {
    bundle: Bundle,
    fields: Fields,
    reader: SegmentReader,
    paths: Vec<Vec<u8>>,
    path_of_row: OnceLock<Vec<u8>>,
    group_starts: OnceLock<Vec<u32>>,
    /// The group of rows read last: rows are asked for one after the other.
    recent: Mutex<Option<(u32, Arc<Vec<FlowRow>>)>>,
}

impl std::fmt::Debug for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Split").field("rows", &self.bundle.rows).finish()
    }
}

impl Split {
    /// Opens a split: its table, tantivy's few words about itself, and its paths are read.
    ///
    /// # Errors
    ///
    /// When it is not one, or cannot be read.
    pub fn open(source: Arc<dyn BundleSource>) -> Result<Split, SearchError> {
        let bundle = Bundle::open(source)?;
        let index = Index::open(BundleDirectory::new(bundle.clone()))?;
        let searcher =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher();
        let [reader] = searcher.segment_readers() else {
            return Err(BundleError::Format("it does not hold one tantivy segment").into());
        };
        if reader.max_doc() != bundle.rows {
            return Err(BundleError::Format("its index and its rows differ in number").into());
        }
        let paths = read_paths(&bundle.verified("paths")?);
        let paths = paths.ok_or_else(|| BundleError::Member("paths".into()))?;
        Ok(Split {
            fields: schema().1,
            reader: reader.clone(),
            paths,
            path_of_row: OnceLock::new(),
            group_starts: OnceLock::new(),
            recent: Mutex::new(None),
            bundle,
        })
    }

    /// How many flows it has.
    #[must_use]
    pub fn flow_count(&self) -> u32 {
        self.bundle.rows
    }

    /// The flows that satisfy a predicate.
    ///
    /// # Errors
    ///
    /// When a part of the split cannot be read.
    pub fn candidates(&self, predicate: &Predicate) -> Result<FlowSet, SearchError> {
        self.within(predicate, &FlowSet::full(self.bundle.rows))
    }

    /// One flow.
    ///
    /// # Errors
    ///
    /// When the split has no such row, or it cannot be read.
    pub fn row(&self, row: u32) -> Result<FlowRow, SearchError> {
        let group = self.group(row / GROUP)?;
        let found = group.get((row % GROUP) as usize);
        found.cloned().ok_or_else(|| BundleError::Member("rows".into()).into())
    }

    /// The blocks that hold packets of the given flows, ascending and distinct.
    ///
    /// # Errors
    ///
    /// When a part of the split cannot be read.
    pub fn blocks(&self, flows: &FlowSet) -> Result<Vec<u32>, SearchError> {
        let mut blocks = Vec::new();
        for row in flows.iter() {
            let group = self.group(row / GROUP)?;
            if let Some(row) = group.get((row % GROUP) as usize) {
                blocks.extend_from_slice(&row.blocks);
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(blocks)
    }

    /// A path by its number.
    #[must_use]
    pub fn path(&self, number: u32) -> Option<&Path> {
        self.paths.get(number as usize).map(|bytes| Path::from_bytes(bytes))
    }

    /// The DNS answers that its flows carry.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn answers(&self) -> Result<Vec<(Vec<u8>, IpAddr)>, SearchError> {
        let bytes = self.bundle.verified("answers")?;
        let mut input = &bytes[..];
        let mut answers = Vec::new();
        while !input.is_empty() {
            let answer = read_answer(&mut input);
            answers.push(answer.ok_or_else(|| BundleError::Member("answers".into()))?);
        }
        Ok(answers)
    }

    /// Verifies the checksum of every part of a split. Sources that do not vouch for their bytes
    /// want this before [`open`](Self::open): tantivy trusts what it reads.
    ///
    /// # Errors
    ///
    /// The first part that is wrong.
    pub fn verify_bytes(source: Arc<dyn BundleSource>) -> Result<(), SearchError> {
        let bundle = Bundle::open(source)?;
        for member in bundle.members() {
            bundle.verified(&member.name)?;
        }
        Ok(())
    }

    /// Reads everything and verifies every cross-reference within it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), SearchError> {
        for row in 0..self.bundle.rows {
            let row = self.row(row)?;
            if row.paths.iter().any(|path| *path as usize >= self.paths.len()) {
                return Err(BundleError::Member("path-of-row".into()).into());
            }
        }
        self.answers()?;
        Ok(())
    }

    /// Those of `rows` that satisfy a predicate.
    fn within(&self, predicate: &Predicate, rows: &FlowSet) -> Result<FlowSet, SearchError> {
        let mut found = FlowSet::empty(self.bundle.rows);
        match predicate {
            Predicate::All => return Ok(rows.clone()),
            Predicate::None => return Ok(found),
            Predicate::And(parts) => return self.all_of(parts, rows),
            Predicate::Or(parts) => {
                for part in parts {
                    found.union(&self.within(part, rows)?);
                }
                return Ok(found);
            }
            Predicate::Not(part) => {
                found = rows.clone();
                found.subtract(&self.within(part, rows)?);
                return Ok(found);
            }
            Predicate::Net(net) => self.net(*net, &mut found)?,
            Predicate::Port(range) => {
                let (low, high) = (range.start().to_be_bytes(), range.end().to_be_bytes());
                let high = Bound::Included(high.to_vec());
                self.terms(self.fields.port, &low, high, &mut found)?;
            }
            Predicate::Name(test) => self.names(test, &mut found)?,
            Predicate::Path(test) => self.paths(test, rows, &mut found)?,
            Predicate::CommunityId(_) | Predicate::Number(..) => {
                self.look_at(rows, predicate, &mut found)?;
            }
        }
        found.intersect(rows);
        Ok(found)
    }

    /// Terms are looked up first: what they leave is little for the rest to look at.
    fn all_of(&self, parts: &[Predicate], rows: &FlowSet) -> Result<FlowSet, SearchError> {
        let mut ordered: Vec<&Predicate> = parts.iter().collect();
        ordered.sort_by_key(|part| cost(part));
        let mut left = rows.clone();
        for part in ordered {
            if left.is_empty() {
                break;
            }
            left = self.within(part, &left)?;
        }
        Ok(left)
    }

    fn net(&self, net: Net, found: &mut FlowSet) -> Result<(), SearchError> {
        let mut low = Vec::new();
        ip_term(net.address, &mut low);
        let mut high = low.clone();
        let prefix = usize::from(net.prefix);
        for (index, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
            let kept = prefix.saturating_sub(index * 8).min(8);
            let mask = if kept == 8 { 0 } else { 0xff >> kept };
            *low &= !mask;
            *high |= mask;
        }
        // Terms of the other address family fall between these bounds too.
        self.terms_of_length(self.fields.ip, &low, Bound::Included(high), Some(low.len()), found)
    }

    fn names(&self, test: &NameTest, found: &mut FlowSet) -> Result<(), SearchError> {
        for (kind, _) in NameKind::ALL {
            if !test.kinds.is_empty() && !test.kinds.contains(&kind) {
                continue;
            }
            let (low, high) = match &test.pattern {
                NamePattern::Any => (vec![kind as u8], Bound::Excluded(vec![kind as u8 + 1])),
                NamePattern::Exact(name) => {
                    let term = name_term(kind, name.as_bytes());
                    (term.clone(), Bound::Included(term))
                }
                NamePattern::Domain(name) if name.is_empty() => {
                    (vec![kind as u8], Bound::Excluded(vec![kind as u8 + 1]))
                }
                NamePattern::Domain(name) => {
                    let term = name_term(kind, name.as_bytes());
                    // Labels end with a zero byte: one more is behind everything below.
                    let mut behind = term.clone();
                    behind.pop();
                    behind.push(1);
                    (term, Bound::Excluded(behind))
                }
            };
            self.terms(self.fields.name, &low, high, found)?;
        }
        Ok(())
    }

    fn terms(
        &self,
        field: Field,
        low: &[u8],
        high: Bound<Vec<u8>>,
        found: &mut FlowSet,
    ) -> Result<(), SearchError> {
        self.terms_of_length(field, low, high, None, found)
    }

    /// Adds the rows of every term between the bounds.
    fn terms_of_length(
        &self,
        field: Field,
        low: &[u8],
        high: Bound<Vec<u8>>,
        length: Option<usize>,
        found: &mut FlowSet,
    ) -> Result<(), SearchError> {
        let index = self.reader.inverted_index(field)?;
        if let Bound::Included(high) = &high
            && high[..] == *low
        {
            if let Some(info) = index.terms().get(low)? {
                add_postings(&index, &info, found)?;
            }
            return Ok(());
        }
        let range = index.terms().range().ge(low);
        let range = match high {
            Bound::Included(high) => range.le(high),
            Bound::Excluded(high) => range.lt(high),
            Bound::Unbounded => range,
        };
        let mut stream = range.into_stream()?;
        while stream.advance() {
            if length.is_none_or(|length| stream.key().len() == length) {
                add_postings(&index, stream.value(), found)?;
            }
        }
        Ok(())
    }

    fn paths(
        &self,
        test: &PathTest,
        rows: &FlowSet,
        found: &mut FlowSet,
    ) -> Result<(), SearchError> {
        let passes: Vec<bool> =
            self.paths.iter().map(|path| Path::from_bytes(path).test(test)).collect();
        if passes.iter().all(|passes| !passes) {
            return Ok(());
        }
        if passes.iter().all(|passes| *passes) {
            *found = rows.clone();
            return Ok(());
        }
        let passes = |number: u32| passes.get(number as usize).copied().unwrap_or(false);
        let width = self.path_width();
        let few = rows.len() <= FEW;
        let column = if few { &[][..] } else { self.path_column()? };
        // Rows with several paths say so only in the row itself.
        let several = self.rows_with_several_paths()?;
        for row in rows.iter() {
            let first = if few { None } else { Some(unpack(column, width, row as usize)) };
            let hit = match first {
                Some(first) if passes(first) => true,
                Some(_) if !several.contains(row) => false,
                _ => self.row(row)?.paths.into_iter().any(passes),
            };
            if hit {
                found.insert(row);
            }
        }
        Ok(())
    }

    /// Evaluates a predicate on each row.
    fn look_at(
        &self,
        rows: &FlowSet,
        predicate: &Predicate,
        found: &mut FlowSet,
    ) -> Result<(), SearchError> {
        for row in rows.iter() {
            let row = self.row(row)?;
            let paths: Vec<&Path> =
                row.paths.iter().filter_map(|number| self.path(*number)).collect();
            let view = FlowView {
                key: row.flow_key(),
                paths: &paths,
                extra_ports: &row.extra_ports,
                names: &row.names,
                packets: row.packets,
                bytes: row.bytes,
                duration_nanos: row.duration_nanos(),
            };
            if predicate.matches(&view) {
                found.insert(row.row);
            }
        }
        Ok(())
    }

    fn rows_with_several_paths(&self) -> Result<FlowSet, SearchError> {
        let bytes = self.bundle.verified("several-paths")?;
        let mut set = FlowSet::empty(self.bundle.rows);
        let mut row = 0u32;
        let mut input = &bytes[..];
        while !input.is_empty() {
            let step = crate::codec::take_u32(&mut input);
            row =
                row.wrapping_add(step.ok_or_else(|| BundleError::Member("several-paths".into()))?);
            set.insert(row);
        }
        Ok(set)
    }

    fn path_width(&self) -> u32 {
        width_of(self.paths.len().saturating_sub(1) as u32)
    }

    fn path_column(&self) -> Result<&[u8], SearchError> {
        if let Some(column) = self.path_of_row.get() {
            return Ok(column);
        }
        let column = self.bundle.verified("path-of-row")?;
        Ok(self.path_of_row.get_or_init(|| column))
    }

    /// The first path of one row, read alone.
    fn path_of(&self, row: u32) -> Result<u32, SearchError> {
        let width = self.path_width();
        if let Some(column) = self.path_of_row.get() {
            return Ok(unpack(column, width, row as usize));
        }
        Ok(unpack(self.path_column()?, width, row as usize))
    }

    fn group(&self, group: u32) -> Result<Arc<Vec<FlowRow>>, SearchError> {
        let damaged = || SearchError::from(BundleError::Member("rows".into()));
        let recent = || self.recent.lock().expect("no holder of the lock panics");
        if let Some((number, rows)) = &*recent()
            && *number == group
        {
            return Ok(Arc::clone(rows));
        }
        let member = self.bundle.member("rows").ok_or_else(damaged)?;
        let starts = self.group_starts()?;
        let table = u64::from(group_count(self.bundle.rows)) * 4;
        let start = u64::from(*starts.get(group as usize).ok_or_else(damaged)?);
        let end = starts
            .get(group as usize + 1)
            .map_or(member.range.end - member.range.start - table, |next| u64::from(*next));
        let bytes = self.bundle.read(member, start..end)?;
        let first_row = group * GROUP;
        let count = GROUP.min(self.bundle.rows.saturating_sub(first_row));
        let mut paths = Vec::with_capacity(count as usize);
        for row in first_row..first_row + count {
            paths.push(self.path_of(row)?);
        }
        let path_of = |row: u32| paths[(row - first_row) as usize];
        let rows = read_group(&bytes, first_row, count, path_of).ok_or_else(damaged)?;
        let rows = Arc::new(rows);
        *recent() = Some((group, Arc::clone(&rows)));
        Ok(rows)
    }

    fn group_starts(&self) -> Result<&[u32], SearchError> {
        if let Some(starts) = self.group_starts.get() {
            return Ok(starts);
        }
        let member = self.bundle.member("rows");
        let member = member.ok_or_else(|| BundleError::Member("rows".into()))?;
        let length = member.range.end - member.range.start;
        let table = u64::from(group_count(self.bundle.rows)) * 4;
        let start = length.checked_sub(table).ok_or(BundleError::Format("its rows are cut"))?;
        let bytes = self.bundle.read(member, start..length)?;
        let (starts, _) = bytes.as_chunks::<4>();
        let starts = starts.iter().map(|start| u32::from_le_bytes(*start)).collect();
        Ok(self.group_starts.get_or_init(|| starts))
    }
}

/// What is cheap to find and leaves little comes first.
fn cost(predicate: &Predicate) -> u32 {
    match predicate {
        Predicate::None => 0,
        Predicate::Net(net) if net.prefix >= 32 => 1,
        Predicate::Name(_) => 2,
        Predicate::Net(_) => 3,
        Predicate::Port(range) if range.start() == range.end() => 4,
        Predicate::Or(parts) => 5 + parts.iter().map(cost).max().unwrap_or(0),
        Predicate::And(parts) => parts.iter().map(cost).min().unwrap_or(0),
        Predicate::Port(_) => 6,
        Predicate::All | Predicate::Not(_) => 20,
        Predicate::Path(_) => 21,
        Predicate::CommunityId(_) | Predicate::Number(..) => 30,
    }
}

fn add_postings(
    index: &InvertedIndexReader,
    info: &tantivy::postings::TermInfo,
    found: &mut FlowSet,
) -> io::Result<()> {
    let mut postings = index.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    let mut row = postings.doc();
    while row != TERMINATED {
        found.insert(row);
        row = postings.advance();
    }
    Ok(())
}

fn read_paths(mut input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = usize::try_from(take_varint(&mut input)?).ok().filter(|it| *it <= input.len())?;
    (0..count).map(|_| take_prefixed(&mut input).map(<[u8]>::to_vec)).collect()
}

fn read_answer(input: &mut &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    let name = take_prefixed(input)?.to_vec();
    let octets = take_prefixed(input)?;
    let address = match (octets.first_chunk::<4>(), octets.first_chunk::<16>()) {
        (_, Some(octets)) => IpAddr::from(*octets),
        (Some(octets), None) => IpAddr::from(*octets),
        (None, None) => return None,
    };
    Some((name, address))
}

#[cfg(test)]
mod tests;
