//! A machine, and a shell that does what it says; every step is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::diagram::arrows;
use super::super::tree::{Arrows, Node};
use super::super::*;

/// An arrow of the specification: the states that it lies in, from, to.
pub(super) type Arrow = (Vec<&'static str>, &'static str, &'static str);

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// So much of each source is used, in thousandths, for so many seconds.
    Load([u16; 3], u16),
    /// What is at work is done, or fails.
    Work { fails: bool },
    /// The shell says so of any state.
    Nonsense { state: State, fails: bool },
    /// The cloud says something.
    Cloud(AwsLifecycle),
    /// A task is due.
    Maintain(Task, Occasion),
}

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Duration,
    /// What the actions have begun and not ended.
    begun: BTreeSet<State>,
    /// When the load led from one outermost state to another.
    pub(super) turns: Vec<Duration>,
    /// The arrows that were gone along.
    pub(super) seen: BTreeSet<Arrow>,
    /// Each state that was shown, with a machine that shows it, and when.
    pub(super) shown: BTreeMap<State, (Machine, Duration)>,
    /// The states that held.
    pub(super) held: BTreeSet<State>,
    pub(super) history: Vec<Transition>,
    drawn: BTreeMap<Vec<&'static str>, Node>,
}

/// Every state that others lie in, by its path.
pub(super) fn drawn() -> BTreeMap<Vec<&'static str>, Node> {
    fn add(node: Node, inside: &[&'static str], all: &mut BTreeMap<Vec<&'static str>, Node>) {
        let path = [inside, &[node.name]].concat();
        for child in &node.children {
            let Node { name, arrows, children } = child;
            let child = Node { name, arrows: *arrows, children: copies(children) };
            add(child, &path, all);
        }
        if !node.children.is_empty() {
            all.insert(path, node);
        }
    }
    fn copies(nodes: &[Node]) -> Vec<Node> {
        let copy = |node: &Node| Node { children: copies(&node.children), ..*node };
        nodes.iter().map(copy).collect()
    }
    let mut all = BTreeMap::new();
    TopState::ALL.into_iter().for_each(|top| add(top.node(), &[], &mut all));
    all
}

impl World {
    /// Just started.
    pub(super) fn new(thresholds: Thresholds) -> World {
        thresholds.check().unwrap();
        let (machine, change) = Machine::start(thresholds, Moment::default(), None);
        let mut world = World {
            machine,
            now: Duration::ZERO,
            begun: BTreeSet::new(),
            turns: Vec::new(),
            seen: BTreeSet::new(),
            shown: BTreeMap::new(),
            held: BTreeSet::new(),
            history: Vec::new(),
            drawn: drawn(),
        };
        world.do_as_told(&change);
        world
    }

    /// In NORMAL, with everything at work.
    pub(super) fn normal() -> World {
        let mut world = World::new(Thresholds::default());
        world.work();
        assert_eq!(world.path(), "NORMAL / OptimalFlow / IndexActive");
        world
    }

    pub(super) fn path(&self) -> String {
        self.machine.state().to_string()
    }

    pub(super) fn top(&self) -> TopState {
        self.machine.state().top()
    }

    /// Why the last transition came about.
    pub(super) fn why(&self) -> &str {
        &self.history.last().unwrap().why
    }

    pub(super) fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Load(load, seconds) => self.load(*load, u64::from(*seconds)),
            Happening::Work { fails } => drop(self.report(self.machine.state(), *fails)),
            Happening::Nonsense { state, fails } => drop(self.report(*state, *fails)),
            Happening::Cloud(said) => drop(self.tell(&Event::Cloud(*said))),
            Happening::Maintain(task, occasion) => {
                drop(self.tell(&Event::Maintain(*task, *occasion)));
            }
        }
    }

    fn report(&mut self, state: State, fails: bool) -> Outcome {
        let failed = || Event::Failed(state, "there is no more paper".to_owned());
        self.tell(&if fails { failed() } else { Event::Done(state) })
    }

    /// All that is at work is done.
    pub(super) fn work(&mut self) {
        let mut steps = 0;
        while let Outcome::Changed(_) = self.tell(&Event::Done(self.machine.state())) {
            steps += 1;
            assert!(steps < 100, "the work has an end");
        }
    }

    /// So much is used for so many seconds.
    pub(super) fn load(&mut self, load: [u16; 3], seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.read(load);
        }
    }

    /// The gauges are read.
    pub(super) fn read(&mut self, load: [u16; 3]) {
        let [memory, storage, queue] = load.map(u64::from);
        let space = StorageGauge {
            free: 1000 - storage.min(1000),
            total: 10_000,
            keep_free: 1000,
            backlog: Part::default(),
        };
        let gauges = Gauges {
            memory: MemoryGauge { used: memory, limit: 1000 },
            storage: space,
            pipeline: PipelineGauge {
                queue: Part { used: queue, of: 1000 },
                ..PipelineGauge::default()
            },
        };
        let readings = judge(self.machine.thresholds(), self.machine.readings(), &gauges);
        self.tell(&Event::Readings(readings));
    }

    pub(super) fn tell(&mut self, event: &Event) -> Outcome {
        let moment = Moment { since_start: self.now, unix_nanos: self.now.as_nanos() as u64 };
        let before = self.machine.clone();
        let (after, outcome) = before.step(moment, event);
        match &outcome {
            Outcome::Ignored(_) => assert_eq!(after, before, "nothing changes"),
            Outcome::Stayed => {
                assert_eq!((after.state(), after.active()), (before.state(), before.active()));
            }
            Outcome::Changed(change) => {
                assert_eq!(change.transition.from, Some(before.state()));
                assert_eq!(change.transition.event, event.kind());
                assert_eq!(change.transition.unix_nanos, moment.unix_nanos);
                self.machine = after.clone();
                self.do_as_told(change);
            }
        }
        self.machine = after;
        outcome
    }

    /// Does what the shell does, and looks at what it is told.
    fn do_as_told(&mut self, change: &Change) {
        let Change { transition, actions } = change;
        assert_eq!(transition.to, self.machine.state());
        assert_eq!(transition.sequence, self.history.len() as u64 + 1);
        assert_eq!(Transition::decode(&transition.encode()).as_ref(), Some(transition));
        assert!(!transition.why.is_empty());
        for action in actions {
            match action {
                Action::Begin(state) => assert!(self.begun.insert(*state), "{state} is begun once"),
                Action::End(state) => assert!(self.begun.remove(state), "{state} was begun"),
            }
        }
        assert_eq!(&self.begun, self.machine.active());
        self.look_at_active();
        self.held.extend(&self.begun);
        let showing = || (self.machine.clone(), self.now);
        self.shown.entry(transition.to).or_insert_with(showing);
        self.history.push(transition.clone());
        self.go(transition.from, transition.to);
        let Some(edge) = transition.edge() else { return };
        let is_of_load = transition.from.is_some_and(|from| from.top().is_of_load());
        if is_of_load && edge.to().is_of_load() {
            let last = self.turns.last().copied();
            let dwell = self.machine.thresholds().dwell;
            assert!(last.is_none_or(|last| self.now - last >= dwell), "{:#?}", self.history);
            self.turns.push(self.now);
        }
    }

    fn look_at_active(&self) {
        let (state, active) = (self.machine.state(), self.machine.active());
        let top = state.top();
        for other in active.iter().map(|it| it.top()).filter(|it| *it != top) {
            let lasts = match other {
                TopState::Pressure => top != TopState::Normal,
                TopState::Degraded => top != TopState::Normal && top != TopState::Pressure,
                TopState::Init
                | TopState::Normal
                | TopState::Critical
                | TopState::AwsLifecycle
                | TopState::Maintenance => false,
            };
            assert!(lasts, "in {state} nothing of {other} holds");
        }
        for source in PressureSource::ALL {
            let holds = |it: &Pressure| active.contains(&State::Pressure(*it));
            let in_force: Vec<bool> = Pressure::against(source).iter().map(holds).collect();
            assert!(in_force.is_sorted_by(|a, b| a >= b), "a measure was left out: {in_force:?}");
        }
        // What failed or is done in INIT, NORMAL and CRITICAL is still shown.
        let goes_on = [TopState::Init, TopState::Normal, TopState::Critical].contains(&top);
        assert!(goes_on || active.contains(&state), "{state} is shown and does not hold");
    }

    /// Goes along the arrows from one state to another; where none is drawn, there must be none
    /// between any of the states that lie there.
    fn go(&mut self, from: Option<State>, to: State) {
        let (from, to) = (from.map(State::names).unwrap_or_default(), to.names());
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if shared == 0 {
            self.go_outermost(from.first().copied(), to[0]);
        } else if shared < to.len() {
            let scope = &to[..shared];
            let node = &self.drawn[scope];
            if node.arrows == Arrows::Chain {
                let arrow = (from[shared], to[shared]);
                assert!(arrows(node).contains(&arrow), "{arrow:?} is not drawn in {scope:?}");
                self.seen.insert((scope.to_vec(), arrow.0, arrow.1));
            }
        } else {
            return;
        }
        for depth in shared + 1..to.len() {
            let node = &self.drawn[&to[..depth]];
            if node.arrows != Arrows::Absent {
                let arrow = ("[*]", to[depth]);
                assert!(arrows(node).contains(&arrow), "{arrow:?} is not drawn in {to:?}");
                self.seen.insert((to[..depth].to_vec(), arrow.0, arrow.1));
            }
        }
    }

    fn go_outermost(&mut self, from: Option<&'static str>, to: &'static str) {
        let Some(from) = from else {
            assert_eq!(to, "INIT");
            self.seen.insert((Vec::new(), "[*]", to));
            return;
        };
        let leads =
            |edge: &&Edge| edge.to().name() == to && edge.from().is_none_or(|it| it.name() == from);
        let edge = Edge::ALL.iter().find(leads);
        let edge = edge.unwrap_or_else(|| panic!("no edge leads from {from} to {to}"));
        self.seen.insert((Vec::new(), edge.from().map_or("any", TopState::name), to));
    }
}
