//! From a ring to a shard: one task for each ring, on the shard that stores its packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_channel::{Receiver, Sender, TryRecvError};
use tapstone_packet::filter::Program;
use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;
use tapstone_runtime::clock::{self, Stopwatch};
use tapstone_runtime::packet_ring::RingPacket;
use tapstone_runtime::packet_source::PacketSource;
use tapstone_runtime::{sleep, yield_if_needed};

use super::clock_steps::ClockWatch;
use super::counts::Counters;
use super::loss::{Loss, LossCause};
use super::thin::{LeftOut, Rules, Thinner};
use crate::account::Account;
use crate::effects::{Behind, Effects, Orders};
use crate::exchangeable::{Exchangeable, Follower};
use crate::import::batch::{Batch, Record};
use crate::shard::{Command, Inbox, IngestError, Returned};

/// Batches between the ring and the shard.
pub(crate) const BATCHES: usize = 3;
/// How often the kernel is asked how many packets came.
const COUNT: Duration = Duration::from_millis(100);
/// After the last packet was let in, so long may the kernel take to hand it over.
const DRAINED_AFTER: Duration = Duration::from_secs(2);
/// Where a VLAN tag stands in an Ethernet header: behind the addresses.
const TAG_AT: usize = 12;

/// What is done with a packet before it is stored.
#[derive(Clone, Debug)]
pub(super) struct Treatment {
    pub(super) snap_len: u32,
    pub(super) program: Option<Arc<Program>>,
    /// Whether the program is asked about every packet, or only about those whose tag the kernel
    /// took off before it ran the program itself.
    pub(super) judge_all: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    /// It does not match.
    Filtered,
    /// It is left out.
    LeftOut(LeftOut),
}

impl Treatment {
    /// Takes a packet into a batch, with its tag, unless it is to be left out.
    fn take(&self, packet: &RingPacket<'_>, thinner: &mut Thinner, batch: &mut Batch) -> Fate {
        let offset = batch.arena.len();
        let tag = packet.vlan.filter(|_| packet.data.len() >= TAG_AT);
        let (addresses, rest) = packet.data.split_at(if tag.is_some() { TAG_AT } else { 0 });
        let mut original = packet.original;
        batch.arena.extend_from_slice(addresses);
        if let Some(tag) = tag {
            batch.arena.extend_from_slice(&tag.bytes());
            original += tag.bytes().len() as u32;
        }
        batch.arena.extend_from_slice(rest);
        let asked = self.program.as_ref().filter(|_| self.judge_all || tag.is_some());
        if asked.is_some_and(|program| !program.matches(&batch.arena[offset..], original)) {
            batch.arena.truncate(offset);
            return Fate::Filtered;
        }
        batch.arena.truncate(offset + self.snap_len as usize);
        batch.records.push(Record {
            time: Timestamp::from_secs_nanos(packet.secs.into(), packet.nanos),
            offset: offset as u32,
            captured: (batch.arena.len() - offset) as u32,
            original,
            interface: 0,
        });
        match thinner.judge(batch) {
            None => Fate::Taken,
            Some(why) => {
                let record = batch.records.pop().expect("it was pushed above");
                batch.arena.truncate(offset);
                batch.leave_out(why.cause(), record.time);
                Fate::LeftOut(why)
            }
        }
    }
}

/// Moves packets from a ring to its shard until it is told to stop.
pub(super) struct Filler {
    pub(super) ring: PacketSource,
    pub(super) treatment: Treatment,
    pub(super) thinning: Arc<Exchangeable<Arc<Rules>>>,
    pub(super) orders: Arc<Orders>,
    pub(super) interfaces: Arc<[Interface]>,
    pub(super) source: Arc<str>,
    pub(super) commands: Sender<Command>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Arc<ClockWatch>,
    pub(super) stopping: Arc<AtomicBool>,
    /// Who waits for everything that came so far to be stored.
    pub(super) flushes: Inbox<Sender<Result<(), IngestError>>>,
}

/// Somebody who waits for everything that had come to be durable.
struct Waiting {
    /// Packets of the ring that must have been read first,
    read: u64,
    /// and then packets that must be settled.
    taken: Option<u64>,
    /// Packets that had been refused before.
    refused: u64,
    done: Sender<Result<(), IngestError>>,
}

/// Where a filler is.
struct State {
    /// How it works now.
    effects: Follower<Effects>,
    /// Whether packets wait in the ring.
    behind: Behind,
    batch: Box<Batch>,
    /// Since the batch's first packet was taken or left out.
    age: Stopwatch,
    back: (Sender<Returned>, Receiver<Returned>),
    made: usize,
    /// Whether nothing was in the ring when it was last looked at.
    ring_empty: bool,
    /// Packets read from the ring, and those that were handed over.
    read: u64,
    handed: u64,
    /// The last commit asked for: its answer, and what was handed over before.
    commit: Option<(Receiver<Result<(), IngestError>>, u64)>,
    /// Packets of which it is decided whether they are durable.
    settled: u64,
    /// Whether the shard could not store the last batch that came back.
    refused: bool,
    /// Since a commit was asked for last, and since the kernel was asked how many packets came.
    since_commit: Stopwatch,
    since_count: Stopwatch,
    /// Wall clock at that time.
    counted_nanos: u64,
    /// Whether a batch had to be waited for since then.
    waited: bool,
    dropped: u64,
}

impl State {
    fn new(orders: &Arc<Orders>) -> State {
        State {
            effects: orders.follow(),
            behind: Behind::new(orders),
            batch: Box::new(Batch::empty()),
            age: Stopwatch::start(),
            back: async_channel::bounded(BATCHES),
            made: 1,
            ring_empty: false,
            read: 0,
            handed: 0,
            commit: None,
            settled: 0,
            refused: false,
            since_commit: Stopwatch::start(),
            since_count: Stopwatch::start(),
            counted_nanos: clock::unix_nanos(),
            waited: false,
            dropped: 0,
        }
    }

    fn effects(&self) -> &Effects {
        self.effects.seen()
    }

    /// Packets that are to be stored, so far.
    fn taken(&self) -> u64 {
        self.handed + self.batch.records.len() as u64
    }
}

impl Filler {
    /// Runs on the shard.
    ///
    /// # Errors
    ///
    /// When the shard is gone.
    pub(super) async fn run(mut self) -> Result<(), IngestError> {
        let mut state = State::new(&self.orders);
        let mut thinner = Thinner::new(Arc::clone(&self.thinning), &self.orders);
        let mut stopped: Option<Stopwatch> = None;
        let mut waiting: Vec<Waiting> = Vec::new();
        loop {
            if stopped.is_none() && self.stopping.load(Ordering::Relaxed) {
                // A kernel that refuses to stop is left with what it has brought.
                self.ring.stop().ok();
                stopped = Some(Stopwatch::start());
            }
            state.effects.keep_up();
            thinner.keep_up();
            let moved = self.read(&mut state, &mut thinner).await;
            if stopped.is_some() || state.since_count.elapsed() >= COUNT {
                self.count(&mut state);
            }
            let all_shown = state.ring_empty || self.ring.counts_what_waits();
            for it in waiting.iter_mut().filter(|it| it.taken.is_none()) {
                it.taken = (state.read >= it.read && all_shown).then(|| state.taken());
            }
            while let Ok(done) = self.flushes.0.try_recv() {
                self.count(&mut state);
                waiting.push(Waiting {
                    read: self.delivered(&state),
                    taken: None,
                    refused: self.counters.lost(LossCause::DiskRefused),
                    done,
                });
            }
            let full = state.batch.arena.len() >= state.effects().unit;
            let old = state.age.elapsed() >= state.effects().flush_after;
            let now = !waiting.is_empty() || (stopped.is_some() && !moved);
            let has_any = !(state.batch.records.is_empty() && state.batch.losses.is_empty());
            if has_any && (full || old || now) {
                self.hand_over(&mut state).await?;
            }
            self.commit_in_time(&mut state, now).await?;
            waiting.retain(|it| {
                it.taken.is_none_or(|taken| state.settled < taken) || {
                    let refused = self.counters.lost(LossCause::DiskRefused) > it.refused;
                    // Whoever asked may have gone.
                    it.done.try_send(if refused { Err(IngestError::Refused) } else { Ok(()) }).ok();
                    false
                }
            });
            let done = !moved && state.settled == state.taken();
            if done && stopped.is_some_and(|since| self.is_drained(&state, since)) {
                return Ok(());
            }
            if moved {
                yield_if_needed().await;
            } else {
                sleep(self.ring.look_after()).await;
            }
        }
    }

    /// Takes blocks of the ring until none is there, or the batch is full, or it is time for other
    /// things. Gives whether there was one.
    async fn read(&mut self, state: &mut State, thinner: &mut Thinner) -> bool {
        let Effects { read_blocks, unit, .. } = *state.effects();
        let (mut moved, mut behind) = (false, true);
        for _ in 0..read_blocks {
            if state.batch.arena.len() >= unit {
                break;
            }
            let (is_first, began) = (
                state.batch.records.is_empty() && state.batch.losses.is_empty(),
                Stopwatch::start(),
            );
            let mut filtered = 0;
            let read = self.ring.take(|packet| {
                match self.treatment.take(packet, thinner, &mut state.batch) {
                    Fate::Taken => {}
                    Fate::Filtered => filtered += 1,
                    Fate::LeftOut(why) => self.counters.leave_out(why),
                }
            });
            state.ring_empty = read.is_none();
            let Some(read) = read else {
                behind = false;
                break;
            };
            moved = true;
            if is_first {
                state.age = began;
            }
            state.read += read;
            self.counters.filtered.fetch_add(filtered, Ordering::Relaxed);
            yield_if_needed().await;
        }
        state.behind.say(behind);
        moved
    }

    /// Asks the kernel what came, and books what was dropped.
    fn count(&mut self, state: &mut State) {
        self.clock.look(&self.source);
        let now = clock::unix_nanos();
        let Ok(counts) = self.ring.counts() else { return };
        self.counters.counted.fetch_add(1, Ordering::Relaxed);
        let dropped = counts.dropped - state.dropped;
        self.counters.received.store(counts.received, Ordering::Relaxed);
        if dropped > 0 {
            let cause = if state.waited { LossCause::DiskBehind } else { LossCause::RingFull };
            let time = |nanos: u64| Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
            // The clock may have been set back meanwhile.
            let (first, last) = (state.counted_nanos.min(now), state.counted_nanos.max(now));
            let (first, last) = (time(first), time(last));
            state.batch.losses.push(Loss { cause, packets: dropped, first, last });
            self.counters.lose(cause, dropped);
        }
        state.dropped = counts.dropped;
        state.counted_nanos = now;
        state.waited = false;
        state.since_count = Stopwatch::start();
    }

    /// Gives the batch to the shard, and takes an empty one.
    async fn hand_over(&mut self, state: &mut State) -> Result<(), IngestError> {
        let mut next = self.spare(state).await?;
        // What was lost while a batch was waited for goes along.
        if state.waited {
            self.count(state);
            state.waited = true;
        }
        next.clear();
        next.arena.clear();
        // A vector that grows doubles, so what is larger than this is from before units became
        // smaller.
        if next.arena.capacity() > 4 * state.effects().unit {
            next.arena.shrink_to(2 * state.effects().unit);
        }
        let mut batch = std::mem::replace(&mut state.batch, next);
        batch.interfaces = Arc::clone(&self.interfaces);
        batch.source = Arc::clone(&self.source);
        batch.account = Some(Account::Live(Arc::clone(&self.counters)));
        state.handed += batch.records.len() as u64;
        self.counters.hand_over(batch.packet_bytes());
        let command = Command::Ingest(batch, state.back.0.clone());
        self.ask(state, command).await
    }

    async fn ask(&self, state: &mut State, command: Command) -> Result<(), IngestError> {
        state.waited |= self.commands.is_full();
        self.commands.send(command).await.map_err(|_| IngestError::Lost)
    }

    async fn spare(&self, state: &mut State) -> Result<Box<Batch>, IngestError> {
        if state.made < BATCHES {
            state.made += 1;
            return Ok(Box::new(Batch::empty()));
        }
        let returned = match state.back.1.try_recv() {
            Ok(returned) => returned,
            Err(_) => {
                state.waited = true;
                self.counters.stuck.store(true, Ordering::Relaxed);
                let returned = state.back.1.recv().await;
                self.counters.stuck.store(false, Ordering::Relaxed);
                returned.map_err(|_| IngestError::Lost)?
            }
        };
        let (batch, result) = returned;
        match result {
            Ok(()) => {
                if std::mem::take(&mut state.refused) {
                    tracing::info!("packets of {} are stored again", self.source);
                }
            }
            Err(IngestError::Lost) => return Err(IngestError::Lost),
            Err(error) => {
                if !std::mem::replace(&mut state.refused, true) {
                    tracing::error!(%error, "packets of {} cannot be stored", self.source);
                }
            }
        }
        Ok(batch)
    }

    /// Asks the shard to make durable what was handed over, when that is due.
    async fn commit_in_time(&self, state: &mut State, wanted: bool) -> Result<(), IngestError> {
        if let Some((answer, handed)) = &state.commit {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Closed) | Ok(Err(IngestError::Lost)) => {
                    return Err(IngestError::Lost);
                }
                // The shard has booked which are lost.
                Ok(_) => {}
            }
            state.settled = *handed;
            state.commit = None;
        }
        let due = wanted || state.since_commit.elapsed() >= state.effects().flush_after / 2;
        if state.settled != state.handed && due {
            let (done, answer) = async_channel::bounded(1);
            self.ask(state, Command::Commit(done)).await?;
            state.commit = Some((answer, state.handed));
            state.since_commit = Stopwatch::start();
        }
        Ok(())
    }

    /// Packets that the kernel had put into the ring when it was last asked.
    fn delivered(&self, state: &State) -> u64 {
        self.counters.received.load(Ordering::Relaxed) - state.dropped
    }

    /// Whether everything that came was read, after no more is let in.
    fn is_drained(&self, state: &State, since: Stopwatch) -> bool {
        let may_come = since.elapsed() < self.ring.held_at_most();
        let all_shown = self.ring.counts_what_waits() || !may_come;
        (state.read >= self.delivered(state) && all_shown) || since.elapsed() >= DRAINED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use tapstone_packet::filter::Dialect;
    use tapstone_packet::interface::{ByteOrder, LinkType};
    use tapstone_runtime::packet_ring::VlanTag;

    use super::super::thin::{CutOff, Thinning};
    use super::*;
    use crate::effects::Shedding;

    fn treatment(filter: &str, snap_len: u32, judge_all: bool) -> Treatment {
        let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
        let program = (!filter.is_empty()).then(|| Program::compile(filter, dialect).unwrap());
        Treatment { snap_len, program: program.map(Arc::new), judge_all }
    }

    /// Cuts off flows of a class at once.
    fn thinner(class: &str) -> Thinner {
        let cut_off = CutOff { class: class.to_owned(), bytes: 0 };
        let cut_off = if class.is_empty() { Vec::new() } else { vec![cut_off] };
        let thinning = Thinning { cut_off, ..Thinning::default() };
        let rules = Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap();
        let orders = Orders::new(Effects::default());
        Thinner::new(Arc::new(Exchangeable::new(Arc::new(rules))), &orders)
    }

    fn frame(vlan: Option<VlanTag>) -> (Vec<u8>, Option<VlanTag>) {
        let mut data = vec![0xaa; 60];
        data[TAG_AT..14].copy_from_slice(&[0x08, 0x06]);
        (data, vlan)
    }

    fn taken(treatment: &Treatment, (data, vlan): &(Vec<u8>, Option<VlanTag>)) -> Option<Batch> {
        let mut batch = Batch::empty();
        batch.arena.extend(b"before");
        let original = data.len() as u32 + 100;
        let packet = RingPacket { secs: 5, nanos: 7, data, original, vlan: *vlan };
        let matches = treatment.take(&packet, &mut thinner(""), &mut batch) == Fate::Taken;
        assert_eq!(matches, batch.records.len() == 1);
        assert!(matches || batch.arena == b"before");
        matches.then_some(batch)
    }

    #[test]
    fn a_tag_that_was_taken_off_is_put_back() {
        let tagged = frame(Some(VlanTag { tpid: 0x88a8, tci: 0x6005 }));
        let batch = taken(&treatment("", 65535, false), &tagged).unwrap();
        let record = batch.records[0];
        let data = batch.data(&record);
        assert_eq!(data[..TAG_AT], [0xaa; 12]);
        assert_eq!(data[TAG_AT..18], [0x88, 0xa8, 0x60, 0x05, 0x08, 0x06]);
        assert_eq!((record.captured, record.original), (64, 164));
        assert_eq!(record.time, Timestamp::from_secs_nanos(5, 7));
    }

    #[test]
    fn the_filter_is_asked_about_what_the_kernel_could_not_judge() {
        let (plain, tagged) = (frame(None), frame(Some(VlanTag { tpid: 0x8100, tci: 5 })));
        let by_tag = treatment("vlan 5", 65535, false);
        assert!(taken(&by_tag, &tagged).is_some());
        assert!(taken(&treatment("vlan 6", 65535, false), &tagged).is_none());
        // The kernel has judged it.
        assert!(taken(&by_tag, &plain).is_some());
        assert!(taken(&treatment("vlan 5", 65535, true), &plain).is_none());
        assert!(taken(&treatment("arp", 65535, true), &plain).is_some());
    }

    #[test]
    fn what_is_left_out_is_booked_with_its_times() {
        let (treatment, mut thinner) = (treatment("", 65535, false), thinner("arp"));
        let (data, vlan) = frame(None);
        let mut batch = Batch::empty();
        for secs in [7, 5, 6] {
            let packet = RingPacket { secs, nanos: 0, data: &data, original: 60, vlan };
            let fate = treatment.take(&packet, &mut thinner, &mut batch);
            assert_eq!(fate, Fate::LeftOut(LeftOut::CutOff));
        }
        let (first, last) = (Timestamp::from_secs_nanos(5, 0), Timestamp::from_secs_nanos(7, 0));
        let expected = Loss { cause: LossCause::CutOff, packets: 3, first, last };
        assert_eq!((batch.losses.as_slice(), batch.records.len()), (&[expected][..], 0));
        assert!(batch.arena.is_empty());
    }

    /// Whatever is left out when, each packet is taken or counted, and what is shed is counted by
    /// its flow too.
    #[test]
    fn each_packet_is_taken_or_counted() {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut chance = fastrand::Rng::with_seed(seed);
        let orders = Orders::new(Effects::default());
        let thinning = Thinning {
            cut_off: vec![CutOff { class: "udp port 1".to_owned(), bytes: 5000 }],
            duplicates: Some(Duration::from_millis(5)),
            critical: vec!["udp port 2".to_owned()],
            ..Thinning::default()
        };
        let rules = Arc::new(Rules::new(&thinning, "eth0", LinkType::ETHERNET).unwrap());
        let mut thinner = Thinner::new(Arc::new(Exchangeable::new(rules)), &orders);
        let (treatment, counters) = (treatment("", 65535, false), Counters::default());
        let (mut batch, mut critical) = (Batch::empty(), (0, 0));
        const PACKETS: u32 = 20_000;
        for packet in 0..PACKETS {
            if chance.u16(..) < 100 {
                let levels = [Shedding::No, Shedding::Prioritize, Shedding::Suspend];
                let shedding = levels[chance.usize(..levels.len())];
                orders.exchange(Effects { shedding, ..Effects::default() });
                thinner.keep_up();
            }
            let port = chance.u16(1..if packet % 10 == 0 { 5000 } else { 8 });
            let data = udp(port, chance.u8(..4), chance.usize(60..1500));
            let original = data.len() as u32;
            let (secs, nanos) = (packet / 2000, packet % 2000 * 500_000);
            let packet = RingPacket { secs, nanos, data: &data, original, vlan: None };
            let fate = treatment.take(&packet, &mut thinner, &mut batch);
            if let Fate::LeftOut(why) = fate {
                counters.leave_out(why);
            }
            let is_shed = matches!(fate, Fate::LeftOut(LeftOut::Shed(_)));
            critical.0 += u32::from(port == 2);
            critical.1 += u32::from(port == 2 && is_shed);
        }
        let lost: u64 = LossCause::ALL.into_iter().map(|cause| counters.lost(cause)).sum();
        assert_eq!(batch.records.len() as u64 + lost, u64::from(PACKETS));
        assert_eq!(batch.losses.iter().map(|loss| loss.packets).sum::<u64>(), lost);
        let shed = counters.shed.iter().map(|it| it.load(Ordering::Relaxed));
        assert_eq!(shed.sum::<u64>(), counters.lost(LossCause::Shed));
        assert!(critical.0 > 1000 && critical.1 == 0, "{critical:?}");
        for cause in [LossCause::CutOff, LossCause::Shed] {
            assert!(counters.lost(cause) > 100, "{cause:?}: {lost}");
        }
    }

    /// UDP from a port, of so many bytes; they are the same where `content` is.
    fn udp(port: u16, content: u8, length: usize) -> Vec<u8> {
        let mut data = vec![2; TAG_AT];
        data.extend([8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        data.extend(port.to_be_bytes());
        data.extend([0, 80, 0, 8, 0, 0]);
        data.resize(length, content);
        data
    }

    #[test]
    fn a_snapshot_length_holds_with_the_tag() {
        let tagged = frame(Some(VlanTag { tpid: 0x8100, tci: 5 }));
        let batch = taken(&treatment("", 40, false), &tagged).unwrap();
        assert_eq!((batch.records[0].captured, batch.records[0].original), (40, 164));
        assert_eq!(batch.arena.len(), 46);
    }
}
