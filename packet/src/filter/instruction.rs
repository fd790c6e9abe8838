//! Classic BPF instructions, decoded and checked once (McCanne and Jacobson, "The BSD Packet
//! Filter", 1993; codes as in `pcap/bpf.h`).

/// Bytes of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Size {
    Byte,
    Half,
    Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
    Lsh,
    Rsh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterEqual,
    AnyBit,
}

/// A constant or the index register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Constant(u32),
    X,
}

/// One instruction; jump targets are absolute and in range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// A = packet[offset]
    Load(Size, u32),
    /// A = packet[X + offset]
    LoadIndirect(Size, u32),
    /// A = length on the wire
    LoadLength,
    LoadConstant(u32),
    LoadMemory(u8),
    /// X = ...
    SetXConstant(u32),
    SetXMemory(u8),
    SetXLength,
    /// X = 4 * (packet[offset] & 15): the length of an IPv4 header
    SetXHeaderLength(u32),
    Store(u8),
    StoreX(u8),
    Calculate(Operator, Operand),
    Negate,
    Jump(u16),
    Branch(Test, Operand, u16, u16),
    Return(u32),
    ReturnA,
    /// X = A
    Tax,
    /// A = X
    Txa,
}

/// Decodes instruction number `index` of `count`; `None` when it is not one that libpcap makes or
/// jumps out of the program.
pub(super) fn decode(
    (code, jump_true, jump_false, k): (u16, u8, u8, u32),
    index: usize,
    count: usize,
) -> Option<Instruction> {
    use Instruction as I;
    let operand = if code & 0x08 == 0 { Operand::Constant(k) } else { Operand::X };
    let slot = u8::try_from(k).ok().filter(|&slot| slot < 16);
    let target = |distance: u32| {
        let target = index as u64 + 1 + u64::from(distance);
        (target < count as u64).then_some(target as u16)
    };
    Some(match (code & 0x07, code & 0xe0, code & 0x18) {
        // ld
        (0, 0x20, _) => I::Load(size(code)?, k),
        (0, 0x40, _) => I::LoadIndirect(size(code)?, k),
        (0, 0x80, 0x00) => I::LoadLength,
        (0, 0x00, 0x00) => I::LoadConstant(k),
        (0, 0x60, 0x00) => I::LoadMemory(slot?),
        // ldx
        (1, 0x00, 0x00) => I::SetXConstant(k),
        (1, 0x60, 0x00) => I::SetXMemory(slot?),
        (1, 0x80, 0x00) => I::SetXLength,
        (1, 0xa0, 0x10) => I::SetXHeaderLength(k),
        // st, stx
        (2, 0x00, 0x00) => I::Store(slot?),
        (3, 0x00, 0x00) => I::StoreX(slot?),
        // alu
        (4, _, _) => match code & 0xf0 {
            0x80 => I::Negate,
            other => I::Calculate(operator(other)?, operand),
        },
        // jmp
        (5, _, _) => match code & 0xf0 {
            // Only this jump may go back: `protochain` loops over extension headers with it.
            0x00 => {
                let target = index as i64 + 1 + i64::from(k as i32);
                I::Jump(u16::try_from(target).ok().filter(|&to| usize::from(to) < count)?)
            }
            other => I::Branch(
                test(other)?,
                operand,
                target(u32::from(jump_true))?,
                target(u32::from(jump_false))?,
            ),
        },
        // ret, misc
        (6, 0x00, 0x00) => I::Return(k),
        (6, 0x00, 0x10) => I::ReturnA,
        (7, 0x00, 0x00) => I::Tax,
        (7, 0x80, 0x00) => I::Txa,
        _ => return None,
    })
}

/// The inverse of [`decode`]: code, jt, jf, k of instruction number `index`; `None` for a jump that
/// is too far, which no decoded program has.
pub(super) fn encode(instruction: Instruction, index: usize) -> Option<(u16, u8, u8, u32)> {
    use Instruction as I;
    let simple = |code: u16, k: u32| Some((code, 0, 0, k));
    let with = |code: u16, operand: Operand| match operand {
        Operand::Constant(k) => (code, k),
        Operand::X => (code | 0x08, 0),
    };
    let distance = |to: u16| u8::try_from(usize::from(to).checked_sub(index + 1)?).ok();
    match instruction {
        I::Load(size, k) => simple(0x20 | size_code(size), k),
        I::LoadIndirect(size, k) => simple(0x40 | size_code(size), k),
        I::LoadLength => simple(0x80, 0),
        I::LoadConstant(k) => simple(0x00, k),
        I::LoadMemory(slot) => simple(0x60, slot.into()),
        I::SetXConstant(k) => simple(0x01, k),
        I::SetXMemory(slot) => simple(0x61, slot.into()),
        I::SetXLength => simple(0x81, 0),
        I::SetXHeaderLength(k) => simple(0xb1, k),
        I::Store(slot) => simple(0x02, slot.into()),
        I::StoreX(slot) => simple(0x03, slot.into()),
        I::Calculate(operator, operand) => {
            let (code, k) = with(0x04 | operator_code(operator), operand);
            simple(code, k)
        }
        I::Negate => simple(0x84, 0),
        I::Jump(to) => simple(0x05, (i64::from(to) - index as i64 - 1) as u32),
        I::Branch(test, operand, then, otherwise) => {
            let (code, k) = with(0x05 | test_code(test), operand);
            Some((code, distance(then)?, distance(otherwise)?, k))
        }
        I::Return(k) => simple(0x06, k),
        I::ReturnA => simple(0x16, 0),
        I::Tax => simple(0x07, 0),
        I::Txa => simple(0x87, 0),
    }
}

fn size(code: u16) -> Option<Size> {
    match code & 0x18 {
        0x00 => Some(Size::Word),
        0x08 => Some(Size::Half),
        0x10 => Some(Size::Byte),
        _ => None,
    }
}

fn size_code(size: Size) -> u16 {
    match size {
        Size::Word => 0x00,
        Size::Half => 0x08,
        Size::Byte => 0x10,
    }
}

fn operator(code: u16) -> Option<Operator> {
    Some(match code {
        0x00 => Operator::Add,
        0x10 => Operator::Sub,
        0x20 => Operator::Mul,
        0x30 => Operator::Div,
        0x40 => Operator::Or,
        0x50 => Operator::And,
        0x60 => Operator::Lsh,
        0x70 => Operator::Rsh,
        0x90 => Operator::Mod,
        0xa0 => Operator::Xor,
        _ => return None,
    })
}

fn operator_code(operator: Operator) -> u16 {
    match operator {
        Operator::Add => 0x00,
        Operator::Sub => 0x10,
        Operator::Mul => 0x20,
        Operator::Div => 0x30,
        Operator::Or => 0x40,
        Operator::And => 0x50,
        Operator::Lsh => 0x60,
        Operator::Rsh => 0x70,
        Operator::Mod => 0x90,
        Operator::Xor => 0xa0,
    }
}

fn test(code: u16) -> Option<Test> {
    Some(match code {
        0x10 => Test::Equal,
        0x20 => Test::Greater,
        0x30 => Test::GreaterEqual,
        0x40 => Test::AnyBit,
        _ => return None,
    })
}

fn test_code(test: Test) -> u16 {
    match test {
        Test::Equal => 0x10,
        Test::Greater => 0x20,
        Test::GreaterEqual => 0x30,
        Test::AnyBit => 0x40,
    }
}
