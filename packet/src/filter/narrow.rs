//! What a matching packet's flow must be like, read off the compiled program.
//!
//! The program is run on an unknown packet: registers hold *which* field was loaded instead of a
//! value, and at a branch both ways are followed. Taking a branch because a field that is known
//! for what it is (an address, a port, a protocol) has a value says something about the flow; a
//! field that is not, and every test that fails, says nothing. Reading the program and not the text
//! leaves the meaning of the text (qualifiers that carry over, precedence, offsets that `vlan`
//! moves) to libpcap.

mod fields;

use std::collections::HashMap;

use fields::{Context, Value};

use super::Program;
use super::instruction::{Instruction, Operand, Operator, Size, Test};
use crate::predicate::{PathTest, Predicate};

/// Longer programs are not read: the walk is as deep as the program is long.
const INSTRUCTIONS_MAX: usize = 4096;
/// Most states looked at before giving up.
const STATES_MAX: usize = 50_000;

impl Program {
    /// A condition that the flow of every matching packet satisfies, given that flows of packets
    /// that were not decoded cleanly pass [`PathTest::Opaque`].
    #[must_use]
    pub fn narrow(&self) -> Predicate {
        if self.instructions.len() > INSTRUCTIONS_MAX {
            return Predicate::All;
        }
        let mut walk = Walk { program: self, memo: HashMap::new() };
        let start = State {
            at: 0,
            a: Value::Unknown,
            x: Value::Unknown,
            memory: [Value::Unknown; 4],
            context: Context::start(self.dialect.link_type),
        };
        match walk.matching(start) {
            Predicate::All => Predicate::All,
            Predicate::None => Predicate::None,
            narrowed => Predicate::Path(PathTest::Opaque).or(narrowed),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    a: Value,
    x: Value,
    /// The first slots; libpcap uses more only for long arithmetic.
    memory: [Value; 4],
    context: Context,
}

struct Walk<'p> {
    program: &'p Program,
    /// `None` while a state is being looked at: coming back to it is a loop.
    memo: HashMap<State, Option<Predicate>>,
}

impl Walk<'_> {
    /// What holds of the flow of every packet that matches from this state on.
    fn matching(&mut self, state: State) -> Predicate {
        if let Some(known) = self.memo.get(&state) {
            return known.clone().unwrap_or(Predicate::All);
        }
        if self.memo.len() == STATES_MAX {
            return Predicate::All;
        }
        self.memo.insert(state, None);
        let result = self.step(state);
        self.memo.insert(state, Some(result.clone()));
        result
    }

    fn step(&mut self, mut state: State) -> Predicate {
        loop {
            let Some(instruction) = self.program.instructions.get(state.at) else {
                return Predicate::All;
            };
            state.at += 1;
            match *instruction {
                Instruction::Return(0) => return Predicate::None,
                Instruction::Return(_) | Instruction::ReturnA => return Predicate::All,
                Instruction::Jump(target) if usize::from(target) < state.at => {
                    return Predicate::All;
                }
                Instruction::Jump(target) => state.at = usize::from(target),
                Instruction::Branch(test, operand, then, otherwise) => {
                    return self.branch(state, test, operand, then, otherwise);
                }
                other => state.execute(other),
            }
        }
    }

    fn branch(
        &mut self,
        state: State,
        test: Test,
        operand: Operand,
        then: u16,
        otherwise: u16,
    ) -> Predicate {
        let constant = match operand {
            Operand::Constant(constant) => Some(constant),
            Operand::X => None,
        };
        let mut way = |target: u16, passed: bool| {
            let mut next = State { at: usize::from(target), ..state };
            let learned = constant.map_or(Predicate::All, |constant| {
                next.context.learn(state.a, test, constant, passed)
            });
            let rest = self.matching(next);
            if implies(&rest, &learned) { rest } else { learned.and(rest) }
        };
        let passed = way(then, true);
        let failed = way(otherwise, false);
        passed.or(failed)
    }
}

impl State {
    fn execute(&mut self, instruction: Instruction) {
        let slot = |memory: &[Value; 4], slot: u8| {
            memory.get(usize::from(slot)).copied().unwrap_or(Value::Unknown)
        };
        match instruction {
            Instruction::Load(size, offset) => self.a = Value::field(size, offset),
            Instruction::LoadIndirect(size, offset) => self.a = self.x.indirect(size, offset),
            Instruction::LoadLength | Instruction::LoadConstant(_) | Instruction::Negate => {
                self.a = Value::Unknown;
            }
            Instruction::LoadMemory(from) => self.a = slot(&self.memory, from),
            Instruction::SetXMemory(from) => self.x = slot(&self.memory, from),
            Instruction::SetXConstant(_) | Instruction::SetXLength => self.x = Value::Unknown,
            Instruction::SetXHeaderLength(offset) => self.x = Value::HeaderLength(offset),
            Instruction::Store(to) => self.store(to, self.a),
            Instruction::StoreX(to) => self.store(to, self.x),
            Instruction::Calculate(Operator::And, Operand::Constant(mask)) => {
                self.a = self.a.masked(mask);
            }
            Instruction::Calculate(..) => self.a = Value::Unknown,
            Instruction::Tax => self.x = self.a,
            Instruction::Txa => self.a = self.x,
            Instruction::Jump(_)
            | Instruction::Branch(..)
            | Instruction::Return(_)
            | Instruction::ReturnA => unreachable!("the walk follows these itself"),
        }
    }

    fn store(&mut self, to: u8, value: Value) {
        if let Some(slot) = self.memory.get_mut(usize::from(to)) {
            *slot = value;
        }
    }
}

/// Whether `what` cannot hold without `learned`: then saying both says nothing more.
fn implies(what: &Predicate, learned: &Predicate) -> bool {
    match (what, learned) {
        (_, Predicate::All) => true,
        (Predicate::And(parts), _) => parts.iter().any(|part| implies(part, learned)),
        (Predicate::Or(parts), _) => {
            !parts.is_empty() && parts.iter().all(|part| implies(part, learned))
        }
        (Predicate::Net(inner), Predicate::Net(outer)) => {
            inner.prefix >= outer.prefix && outer.contains(inner.address)
        }
        (Predicate::Port(inner), Predicate::Port(outer)) => {
            outer.contains(inner.start()) && outer.contains(inner.end())
        }
        (what, learned) => what == learned,
    }
}

/// The sizes that fields are told by.
const fn bits(size: Size) -> u32 {
    match size {
        Size::Byte => 0xff,
        Size::Half => 0xffff,
        Size::Word => u32::MAX,
    }
}

#[cfg(test)]
mod tests;
