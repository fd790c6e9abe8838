//! pcap filters: compiled by libpcap, run by our own interpreter, read for what an index can use.
//!
//! [`Program::compile`] gives what `tcpdump -r` would run for a file of the same link type.
//! [`Program::matches`] is that program's verdict. [`Program::narrow`] is a condition on flows that
//! every match satisfies: it may say too much, never too little.

mod compile;
mod host_names;
mod instruction;
mod interpret;
mod kernel;
mod narrow;

pub use compile::{Dialect, FilterError};
use instruction::Instruction;
pub use kernel::KernelInstruction;

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    dialect: Dialect,
    instructions: Vec<Instruction>,
}
