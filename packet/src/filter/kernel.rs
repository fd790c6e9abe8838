//! A filter for the kernel to run over live packets, so that what is not wanted is not copied.
//!
//! The kernel has taken the outermost VLAN tag off when it runs a filter, which is compiled for
//! packets with their tags. So packets that had one are let through, and the filter is asked about
//! them when the tag is back. The kernel may let more through than the filter matches, never less.

use super::Program;
use super::instruction::{Instruction, encode};

/// An instruction as the kernel takes it (`linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelInstruction {
    /// What it does.
    pub code: u16,
    /// Instructions to pass over when a test holds.
    pub jt: u8,
    /// And when it does not.
    pub jf: u8,
    /// Its number.
    pub k: u32,
}

impl KernelInstruction {
    /// Takes a packet, whole.
    pub const ALL: KernelInstruction = KernelInstruction { code: 0x06, jt: 0, jf: 0, k: 262_144 };
}

/// A load from here is of what the kernel knows beside the packet; this one is whether a tag was
/// taken off (`SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`).
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// Longest program that the kernel takes.
const KERNEL_MAX: usize = 4096;

impl Program {
    /// The program as the kernel can run it over live packets, keeping `snap_len` bytes of each
    /// that matches. Those that it lets through to be asked about are kept whole. The kernel cannot
    /// run every program: then it lets all through, by the one instruction of
    /// [`KernelInstruction::ALL`].
    #[must_use]
    pub fn for_kernel(&self, snap_len: u32) -> Vec<KernelInstruction> {
        let plain = |code, k| KernelInstruction { code, jt: 0, jf: 0, k };
        let all = KernelInstruction::ALL;
        let instructions: Option<Vec<_>> =
            self.instructions.iter().enumerate().map(|it| for_kernel(it, snap_len)).collect();
        match instructions {
            Some(instructions) if instructions.len() + 3 <= KERNEL_MAX => {
                let had_tag = KernelInstruction { code: 0x15, jt: 1, jf: 0, k: 0 };
                let mut program = vec![plain(0x20, VLAN_TAG_PRESENT), had_tag, all];
                program.extend(instructions);
                program
            }
            _ => vec![all],
        }
    }
}

fn for_kernel(
    (index, instruction): (usize, &Instruction),
    snap_len: u32,
) -> Option<KernelInstruction> {
    let instruction = match *instruction {
        Instruction::Return(0) => Instruction::Return(0),
        Instruction::Return(_) => Instruction::Return(snap_len),
        // It takes no jumps back.
        Instruction::Jump(to) if usize::from(to) <= index => return None,
        // These would be the kernel's own knowledge, not bytes of a packet.
        Instruction::Load(_, at) if at >= 0x8000_0000 => return None,
        other => other,
    };
    let (code, jt, jf, k) = encode(instruction, index)?;
    Some(KernelInstruction { code, jt, jf, k })
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::super::instruction::decode;
    use super::*;
    use crate::interface::{ByteOrder, LinkType};

    fn compiled(expression: &str) -> Program {
        let dialect = Dialect { link_type: LinkType::ETHERNET, byte_order: ByteOrder::Little };
        Program::compile(expression, dialect).unwrap()
    }

    #[test]
    fn what_the_kernel_runs_is_what_was_compiled_behind_the_test_for_tags() {
        let expressions = [
            "",
            "tcp port 443 and not net 10.0.0.0/8",
            "tcp[13] & 4 != 0 or udp[4:2] = len - 34",
            "vlan 5 and ip6 and (ip6[6] = 6 or icmp6)",
            "ether[0] & 1 = 0 and ip[0] & 0xf > 5 and -ip[8] != 3 and ip[2:2] % 7 = 1",
        ];
        for expression in expressions {
            let program = compiled(expression);
            let kernel = program.for_kernel(262_144);
            assert_eq!(kernel[2], KernelInstruction { code: 6, jt: 0, jf: 0, k: 262_144 });
            let count = program.instructions.len();
            let decoded = kernel[3..].iter().enumerate();
            let decoded: Option<Vec<_>> =
                decoded.map(|(at, it)| decode((it.code, it.jt, it.jf, it.k), at, count)).collect();
            assert_eq!(decoded.as_ref(), Some(&program.instructions), "{expression}");
        }
    }

    #[test]
    fn a_shorter_snapshot_length_is_the_kernels() {
        let kernel = compiled("udp").for_kernel(96);
        let returns: Vec<u32> = kernel.iter().filter(|it| it.code == 6).map(|it| it.k).collect();
        assert_eq!(returns[0], 262_144, "what is asked about later is whole");
        assert!(returns[1..].contains(&96) && returns[1..].iter().all(|it| [0, 96].contains(it)));
    }

    #[test]
    fn a_program_with_a_loop_is_not_for_the_kernel() {
        assert_eq!(compiled("ip6 protochain 6").for_kernel(5).len(), 1);
    }
}
