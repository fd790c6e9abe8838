//! The verdict: running a program over a packet exactly as libpcap's `bpf_filter` does.

use super::Program;
use super::instruction::{Instruction, Operand, Operator, Size, Test};

/// The most instructions that are run for one packet.
const STEPS_MAX: usize = 1 << 21;

impl Program {
    /// Whether the filter matches a packet: `data` is what was captured of it, `original_len` its
    /// length on the wire (which `len`, `less` and `greater` look at).
    #[must_use]
    pub fn matches(&self, data: &[u8], original_len: u32) -> bool {
        self.run(data, original_len).unwrap_or(0) != 0
    }

    /// The program's result; `None` when it loads beyond the captured bytes, which ends it with
    /// "no match" whatever stands around the load.
    fn run(&self, data: &[u8], original_len: u32) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; 16];
        let mut next = 0usize;
        // Only `protochain` loops, over headers of eight bytes or more: twenty-odd instructions for
        // each eight bytes of the largest packet are within this.
        for _ in 0..STEPS_MAX {
            let instruction = *self.instructions.get(next)?;
            next += 1;
            match instruction {
                Instruction::Load(size, offset) => a = load(data, offset, size)?,
                Instruction::LoadIndirect(size, offset) => {
                    a = load(data, x.checked_add(offset)?, size)?;
                }
                Instruction::LoadLength => a = original_len,
                Instruction::LoadConstant(value) => a = value,
                Instruction::LoadMemory(slot) => a = memory[usize::from(slot)],
                Instruction::SetXConstant(value) => x = value,
                Instruction::SetXMemory(slot) => x = memory[usize::from(slot)],
                Instruction::SetXLength => x = original_len,
                Instruction::SetXHeaderLength(offset) => {
                    x = (load(data, offset, Size::Byte)? & 0xf) << 2;
                }
                Instruction::Store(slot) => memory[usize::from(slot)] = a,
                Instruction::StoreX(slot) => memory[usize::from(slot)] = x,
                Instruction::Calculate(operator, operand) => {
                    a = calculate(operator, a, value(operand, x))?;
                }
                Instruction::Negate => a = a.wrapping_neg(),
                Instruction::Jump(target) => next = usize::from(target),
                Instruction::Branch(test, operand, then, otherwise) => {
                    let passed = compare(test, a, value(operand, x));
                    next = usize::from(if passed { then } else { otherwise });
                }
                Instruction::Return(result) => return Some(result),
                Instruction::ReturnA => return Some(a),
                Instruction::Tax => x = a,
                Instruction::Txa => a = x,
            }
        }
        None
    }
}

fn value(operand: Operand, x: u32) -> u32 {
    match operand {
        Operand::Constant(value) => value,
        Operand::X => x,
    }
}

#[inline]
fn load(data: &[u8], offset: u32, size: Size) -> Option<u32> {
    let tail = data.get(offset as usize..)?;
    Some(match size {
        Size::Byte => u32::from(*tail.first()?),
        Size::Half => u32::from(u16::from_be_bytes(*tail.first_chunk()?)),
        Size::Word => u32::from_be_bytes(*tail.first_chunk()?),
    })
}

pub(super) fn compare(test: Test, a: u32, operand: u32) -> bool {
    match test {
        Test::Equal => a == operand,
        Test::Greater => a > operand,
        Test::GreaterEqual => a >= operand,
        Test::AnyBit => a & operand != 0,
    }
}

/// Dividing by zero ends the program with "no match"; shifting by 32 bits or more gives zero.
pub(super) fn calculate(operator: Operator, a: u32, operand: u32) -> Option<u32> {
    Some(match operator {
        Operator::Add => a.wrapping_add(operand),
        Operator::Sub => a.wrapping_sub(operand),
        Operator::Mul => a.wrapping_mul(operand),
        Operator::Div => a.checked_div(operand)?,
        Operator::Mod => a.checked_rem(operand)?,
        Operator::And => a & operand,
        Operator::Or => a | operand,
        Operator::Xor => a ^ operand,
        Operator::Lsh => a.checked_shl(operand).unwrap_or(0),
        Operator::Rsh => a.checked_shr(operand).unwrap_or(0),
    })
}
