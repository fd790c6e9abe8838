//! Making a split.

use std::collections::HashMap;
use std::net::IpAddr;

use tantivy::directory::RamDirectory;
use tantivy::index::SegmentComponent;
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::schema::Field;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};
use tantivy::{Directory, Index, IndexSettings, TantivyError};
use tapstone_packet::flow::{FlowKey, Path};
use tapstone_packet::names::Name;
use tapstone_packet::time::Timestamp;

use crate::bundle;
use crate::codec::{pack, push_prefixed, push_varint, width_of};
use crate::rows::RowsWriter;
use crate::summary::SummaryBuilder;
use crate::terms::{Fields, ip_term, name_term, schema};

/// What tantivy is told that a flow's terms take. It only sizes its first tables by that, and holds
/// everything until the end whatever it takes.
const BYTES_PER_FLOW: usize = 1 << 10;
/// The least and the most that it is told.
const MEMORY_BUDGET: std::ops::RangeInclusive<usize> = 1 << 20..=512 << 20;

/// The files of a tantivy segment that this schema needs.
const COMPONENTS: [SegmentComponent; 6] = [
    SegmentComponent::Postings,
    SegmentComponent::Positions,
    SegmentComponent::FastFields,
    SegmentComponent::FieldNorms,
    SegmentComponent::Terms,
    SegmentComponent::Store,
];

/// A flow to be added to a split.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry<'a> {
    /// Its key.
    pub key: &'a FlowKey,
    /// Whether the key's first end sent the first packet.
    pub first_end_started: bool,
    /// Numbers of the paths that its packets took, as [`SplitBuilder::add_path`] gave them; at
    /// least one.
    pub paths: &'a [u32],
    /// Ports beyond the key's: of the datagrams that later fragments belong to.
    pub extra_ports: &'a [u16],
    /// Names it carries, distinct.
    pub names: &'a [Name],
    /// Time of its earliest packet.
    pub first: Timestamp,
    /// Time of its latest packet.
    pub last: Timestamp,
    /// Packets stored.
    pub packets: u64,
    /// Captured bytes stored.
    pub bytes: u64,
    /// Blocks that hold its packets, ascending.
    pub blocks: &'a [u32],
}

/// Why a split cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the split cannot be built: {0}")]
pub struct BuildError(#[from] TantivyError);

/// A finished split.
#[derive(Debug)]
pub struct SplitFile {
    /// The file's content, to be sealed and read back through a [`crate::BundleSource`].
    pub bytes: Vec<u8>,
    /// What the catalog keeps of it ([`crate::Summary`]).
    pub summary: Vec<u8>,
}

/// Collects the flows of one segment, in the order of their numbers.
pub struct SplitBuilder {
    writer: SingleSegmentIndexWriter<Terms>,
    directory: RamDirectory,
    fields: Fields,
    rows: RowsWriter,
    paths: HashMap<Vec<u8>, u32>,
    path_list: Vec<Vec<u8>>,
    path_of_row: Vec<u32>,
    /// Rows with more than one path, each as its distance from the one before.
    several_paths: Vec<u8>,
    last_with_several: u32,
    answers: Vec<u8>,
    summary: SummaryBuilder,
}

impl std::fmt::Debug for SplitBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SplitBuilder").field("rows", &self.path_of_row.len()).finish()
    }
}

impl SplitBuilder {
    /// An empty split, for about so many flows.
    ///
    /// # Errors
    ///
    /// When tantivy cannot start.
    pub fn new(flows: usize) -> Result<SplitBuilder, BuildError> {
        let budget = (flows * BYTES_PER_FLOW).clamp(*MEMORY_BUDGET.start(), *MEMORY_BUDGET.end());
        let (schema, fields) = schema();
        let directory = RamDirectory::create();
        let writer = Index::builder()
            .schema(schema)
            .settings(IndexSettings::default())
            .single_segment_index_writer(directory.clone(), budget)?;
        Ok(SplitBuilder {
            writer,
            directory,
            fields,
            rows: RowsWriter::default(),
            paths: HashMap::new(),
            path_list: Vec::new(),
            path_of_row: Vec::new(),
            several_paths: Vec::new(),
            last_with_several: 0,
            answers: Vec::new(),
            summary: SummaryBuilder::default(),
        })
    }

    /// Adds a path, and gives its number; the same path has the same number.
    pub fn add_path(&mut self, path: &Path) -> u32 {
        if let Some(number) = self.paths.get(path.as_bytes()) {
            return *number;
        }
        let number = self.path_list.len() as u32;
        self.paths.insert(path.as_bytes().to_vec(), number);
        self.path_list.push(path.as_bytes().to_vec());
        number
    }

    /// Adds a flow; rows are numbered from 0.
    ///
    /// # Errors
    ///
    /// When tantivy refuses.
    ///
    /// # Panics
    ///
    /// When the flow has no path.
    pub fn add(&mut self, entry: &FlowEntry<'_>) -> Result<(), BuildError> {
        let mut terms = Terms { bytes: Vec::with_capacity(48), ends: Vec::with_capacity(8) };
        for address in entry.key.addresses() {
            terms.push(self.fields.ip, |out| ip_term(address, out));
            self.summary.add_address(address);
        }
        for port in entry.key.ports().chain(entry.extra_ports.iter().copied()) {
            terms.push(self.fields.port, |out| out.extend_from_slice(&port.to_be_bytes()));
        }
        for name in entry.names {
            let term = name_term(name.kind, &name.name);
            self.summary.add_name(&term);
            terms.push(self.fields.name, |out| out.extend_from_slice(&term));
        }
        self.writer.add_document(terms)?;
        self.rows.push(entry);
        if entry.paths.len() > 1 {
            let row = self.path_of_row.len() as u32;
            push_varint(&mut self.several_paths, u128::from(row - self.last_with_several));
            self.last_with_several = row;
        }
        self.path_of_row.push(*entry.paths.first().expect("every packet came over some path"));
        Ok(())
    }

    /// Adds a DNS answer that some flow carries, for the name cache.
    pub fn add_answer(&mut self, name: &[u8], address: IpAddr) {
        push_prefixed(&mut self.answers, name);
        let mut octets = Vec::new();
        ip_term(address, &mut octets);
        push_prefixed(&mut self.answers, &octets);
    }

    /// Puts everything together.
    ///
    /// # Errors
    ///
    /// When tantivy refuses.
    pub fn finish(self) -> Result<SplitFile, BuildError> {
        let index = self.writer.finalize()?;
        let mut members = Vec::new();
        for meta in index.searchable_segment_metas()? {
            for component in COMPONENTS {
                let path = meta.relative_path(component);
                // Those that this schema has nothing for may not exist.
                let Ok(file) = self.directory.open_read(&path) else { continue };
                let name = path.to_string_lossy().into_owned();
                members.push((name, file.read_bytes().map_err(TantivyError::from)?.to_vec()));
            }
        }
        let meta = self.directory.atomic_read("meta.json".as_ref());
        members.push(("meta.json".to_owned(), meta.map_err(TantivyError::from)?));

        let rows = self.path_of_row.len() as u32;
        let mut paths = Vec::new();
        push_varint(&mut paths, self.path_list.len() as u128);
        self.path_list.iter().for_each(|path| push_prefixed(&mut paths, path));
        let width = width_of(self.path_list.len().saturating_sub(1) as u32);
        members.push(("path-of-row".to_owned(), pack(&self.path_of_row, width)));
        members.push(("paths".to_owned(), paths));
        members.push(("several-paths".to_owned(), self.several_paths));
        members.push(("rows".to_owned(), self.rows.finish()));
        members.push(("answers".to_owned(), self.answers));
        Ok(SplitFile { bytes: bundle::write(&members, rows), summary: self.summary.finish() })
    }
}

/// The terms of one flow, as the document that tantivy takes.
#[derive(Debug)]
struct Terms {
    bytes: Vec<u8>,
    ends: Vec<(Field, u32)>,
}

impl Terms {
    fn push(&mut self, field: Field, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((field, self.bytes.len() as u32));
    }
}

/// A term on its way into tantivy.
#[derive(Clone, Copy, Debug)]
struct Term<'a>(&'a [u8]);

impl<'a> Value<'a> for Term<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(ReferenceValueLeaf::Bytes(self.0))
    }
}

impl Document for Terms {
    type Value<'a> = Term<'a>;
    type FieldsValuesIter<'a> = TermsIter<'a>;

    fn iter_fields_and_values(&self) -> TermsIter<'_> {
        TermsIter { terms: self, next: 0, start: 0 }
    }
}

struct TermsIter<'a> {
    terms: &'a Terms,
    next: usize,
    start: usize,
}

impl<'a> Iterator for TermsIter<'a> {
    type Item = (Field, Term<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let &(field, end) = self.terms.ends.get(self.next)?;
        let term = Term(&self.terms.bytes[self.start..end as usize]);
        self.next += 1;
        self.start = end as usize;
        Some((field, term))
    }
}
