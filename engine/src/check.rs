//! Checking a store: every checksum and every cross-reference.

use std::path::PathBuf;

use tapstone_index::Split;
use tapstone_runtime::{block_on, blocking};
use tapstone_wal::{ScanEnd, read_folder};

use crate::audit::verify_audit;
use crate::catalog::SegmentRow;
use crate::id::{SegmentId, StoreId};
use crate::keys::KeyRing;
use crate::layout::Layout;
use crate::segment::block;
use crate::segment::directory::Directory;
use crate::segment::reader::{self, Segment};
use crate::segment::scan::check_unit_end;
use crate::segment::split_file;
use crate::store::{Inner, Store};

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Segments read.
    pub segments: u64,
    /// Blocks opened.
    pub blocks: u64,
    /// Packets counted.
    pub packets: u64,
    /// Flows looked at.
    pub flows: u64,
    /// Records of the audit log read.
    pub audit_records: u64,
    /// What is wrong; empty when the store is sound.
    pub damage: Vec<Damage>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes, where that can be said.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl CheckReport {
    pub(crate) fn add(&mut self, path: PathBuf, offset: Option<u64>, what: impl ToString) {
        self.damage.push(Damage { path, offset, what: what.to_string() });
    }
}

impl Store {
    /// Reads everything and verifies it, once what a crash left is in order. Open segments are
    /// checked as far as they are durable.
    #[must_use]
    pub fn check(&self) -> CheckReport {
        self.wait_until_indexed();
        let mut report = CheckReport::default();
        let (layout, checker) = (&self.inner.layout, self.checker());
        for text in self.damage() {
            report.add(layout.root().to_owned(), None, text);
        }
        let without_row = self.segments_without_row();
        let segments = match self.inner.catalog.segments() {
            Ok(segments) => segments,
            Err(error) => {
                report.add(layout.catalog(), None, error);
                Default::default()
            }
        };
        for (id, row) in &segments.rows {
            checker.check_sealed(*id, row, &mut report);
        }
        match blocking::list_dir(&layout.segments()) {
            Ok(names) => {
                for name in names {
                    let id = name.to_str().and_then(|name| name.strip_suffix(".seg"));
                    let id = id.and_then(|id| id.parse::<SegmentId>().ok());
                    let known = |id| {
                        segments.rows.contains_key(&id)
                            || without_row.iter().any(|it| it.id() == id)
                    };
                    if id.is_some_and(|id| !known(id)) {
                        let what = "it is not in the catalog; run: tapstone rebuild";
                        report.add(layout.segments().join(&name), None, what);
                    }
                }
            }
            Err(error) => report.add(layout.segments(), None, error),
        }
        for segment in
            without_row.iter().filter(|segment| !segments.rows.contains_key(&segment.id()))
        {
            check_blocks(segment, u32::MAX, &mut report);
        }
        match read_folder(&layout.wal()) {
            Ok(files) => {
                for file in files {
                    if let Ok(scan) = &file.scan
                        && let ScanEnd::Damaged { offset } = scan.end
                    {
                        report.add(file.path, Some(offset), "the log is damaged here");
                    }
                }
            }
            Err(error) => report.add(layout.wal(), None, error),
        }
        checker.check_audit(&mut report);
        report.damage.extend(block_on(self.inner.ledger.verify()));
        report
    }

    fn checker(&self) -> Checker<'_> {
        let Inner { layout, keys, id, .. } = &*self.inner;
        Checker { layout, keys, store: *id }
    }
}

/// Looks at the files of a store, which need not be open.
#[derive(Debug)]
pub(crate) struct Checker<'c> {
    pub(crate) layout: &'c Layout,
    pub(crate) keys: &'c KeyRing,
    pub(crate) store: StoreId,
}

impl Checker<'_> {
    pub(crate) fn check_audit(&self, report: &mut CheckReport) {
        let layout = self.layout;
        match verify_audit(layout.root()) {
            Ok(audit) => {
                report.audit_records = audit.records;
                for it in &audit.breaks {
                    report.add(it.place.path.clone(), it.place.offset, it.text());
                }
                if audit.more_breaks > 0 {
                    let what = format!("{} more breaks", audit.more_breaks);
                    report.add(layout.audit(), None, what);
                }
            }
            Err(error) => report.add(layout.audit(), None, error),
        }
    }

    pub(crate) fn check_sealed(&self, id: SegmentId, row: &SegmentRow, report: &mut CheckReport) {
        let path = self.layout.segment(id);
        let segment = match reader::open_sealed(&path, self.keys, self.store) {
            Ok(segment) => segment,
            Err(error) => return report.add(path, None, error),
        };
        report.segments += 1;
        for (offset, what) in &segment.damage {
            report.add(path.clone(), Some(*offset), what);
        }
        let counted = segment.map.totals(row.flows);
        let same = segment.totals.as_ref().is_none_or(|said| {
            (said.packets, said.packet_bytes, said.blocks, said.flows)
                == (counted.packets, counted.packet_bytes, counted.blocks, counted.flows)
        });
        if !same {
            report.add(path.clone(), None, "its trailer and its footer count differently");
        }
        if (row.packets, row.packet_bytes, row.blocks)
            != (counted.packets, counted.packet_bytes, counted.blocks)
        {
            let what = "the catalog and the segment count differently; run: tapstone rebuild";
            report.add(path.clone(), None, what);
        }
        check_blocks(&segment, row.flows, report);
        self.check_split(id, row, &segment, report);
    }

    fn check_split(
        &self,
        id: SegmentId,
        row: &SegmentRow,
        segment: &Segment,
        report: &mut CheckReport,
    ) {
        let path = self.layout.split(id);
        let source = match split_file::open(&path, self.keys, self.store, id) {
            Ok(source) => source,
            Err(error) => return report.add(path, None, error),
        };
        let checked = Split::verify_bytes(source.clone()).and_then(|()| {
            let split = Split::open(source)?;
            split.verify()?;
            Ok(split)
        });
        let split = match checked {
            Ok(split) => split,
            Err(error) => return report.add(path, None, error),
        };
        report.flows += u64::from(split.flow_count());
        if split.flow_count() != row.flows {
            report.add(path.clone(), None, "it has another number of flows than its segment");
        }
        let blocks = segment.map.block_count();
        let mut packets = 0;
        for flow in 0..split.flow_count() {
            if let Ok(row) = split.row(flow) {
                packets += row.packets;
                if row.blocks.iter().any(|block| *block >= blocks) {
                    report.add(
                        path.clone(),
                        None,
                        format!("flow {flow} names a block that is not there"),
                    );
                }
            }
        }
        if packets != row.packets {
            report.add(path, None, "its flows have another number of packets than its segment");
        }
    }
}

/// Opens every block.
pub(crate) fn check_blocks(segment: &Segment, flows: u32, report: &mut CheckReport) {
    let file = match segment.read_file() {
        Ok(file) => file,
        Err(error) => return report.add(segment.path.clone(), None, error),
    };
    let (mut scratch, mut plain) = (Vec::new(), Vec::new());
    for unit in &segment.map.units {
        for (place, number) in unit.blocks.iter().zip(unit.first_block..) {
            let at = Some(place.offset);
            let stored = match file.read_at(place.offset, place.length as usize) {
                Ok(stored) => stored,
                Err(error) => {
                    report.add(segment.path.clone(), at, error);
                    continue;
                }
            };
            let (owner, key) = (segment.opened.owner, &segment.opened.key);
            let header = block::open(owner, key, number, &stored, &mut scratch, &mut plain);
            match header {
                Ok(header) => {
                    report.blocks += 1;
                    let times = header.times();
                    let wrong = check_directory(&plain, times.0, place.packets, flows).or((header
                        .crc
                        .get()
                        != place.crc)
                        .then_some("it is another block"));
                    match wrong {
                        Some(what) => report.add(segment.path.clone(), at, what),
                        None => report.packets += u64::from(place.packets),
                    }
                }
                Err(error) => report.add(segment.path.clone(), at, error),
            }
        }
        let at = Some(unit.offset + unit.blocks_length());
        match check_unit_end(&file, &segment.opened, unit) {
            Ok(None) => {}
            Ok(Some(what)) => report.add(segment.path.clone(), at, what),
            Err(error) => report.add(segment.path.clone(), at, error),
        }
    }
}

/// What is wrong with a block's directory.
fn check_directory(
    plain: &[u8],
    base: tapstone_packet::time::Timestamp,
    packets: u32,
    flows: u32,
) -> Option<&'static str> {
    let Some(directory) = Directory::parse(plain, base) else {
        return Some("its directory makes no sense");
    };
    let (mut counted, mut bytes) = (0, 0);
    for (flow, packets) in directory.runs() {
        if flow >= flows {
            return Some("it names a flow that is not there");
        }
        bytes += (counted..counted + packets)
            .map(|index| directory.captured(index) as usize)
            .sum::<usize>();
        counted += packets;
    }
    if counted != packets as usize || directory.len() != counted {
        return Some("it has another number of packets than it says");
    }
    (bytes != directory.data.len()).then_some("its packets do not fill it")
}
