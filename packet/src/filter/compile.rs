//! Compiling a filter as `tcpdump -r` does.

use std::io::Write;

use super::instruction::{Instruction, decode};
use super::{Program, host_names};
use crate::interface::{ByteOrder, LinkType};

/// Longest expression taken: libpcap's parser and optimiser are not made for more.
const EXPRESSION_LEN_MAX: usize = 64 << 10;
/// Longest program taken: jump targets are 16 bits here.
const INSTRUCTIONS_MAX: usize = u16::MAX as usize;

/// What a filter is compiled for: one expression gives another program for every link type, and
/// for some (NULL) for either byte order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The link type of the packets.
    pub link_type: LinkType,
    /// The byte order of the file they came in.
    pub byte_order: ByteOrder,
}

/// Why a filter cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// libpcap refuses it, always or for this link type.
    #[error("{message}{}", understood(*.position, .expression))]
    Refused {
        /// The expression.
        expression: String,
        /// What libpcap says.
        message: String,
        /// The byte of the expression that it seems to be about.
        position: Option<usize>,
    },
    /// No packet of this link type can match it.
    #[error("the filter can match no packet of link type {}", .0.0)]
    RejectsAll(LinkType),
    /// It has the name of a host in it.
    #[error(
        "'{name}' is a host name, and names are not looked up for a filter: it must mean the same \
         everywhere and always; write the address, or ask for flows by name with --where name:{name}"
    )]
    HostName {
        /// The name.
        name: String,
    },
    /// It is too long.
    #[error("the filter has {0} bytes, more than the {EXPRESSION_LEN_MAX} there can be")]
    TooLong(usize),
    /// libpcap cannot be asked at all.
    #[error("libpcap cannot be asked to compile a filter: {0}")]
    Unavailable(String),
}

impl FilterError {
    /// Whether it is refused for what it is, whatever it were asked of.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        matches!(self, FilterError::Refused { message, .. } if message.contains("syntax error"))
    }
}

fn understood(position: Option<usize>, expression: &str) -> String {
    match position.and_then(|position| expression.split_at_checked(position)) {
        Some((before, at)) => {
            let at = host_names::tokens(at).next().unwrap_or("its end");
            format!(" (at byte {}, '{at}')", before.len())
        }
        None => String::new(),
    }
}

impl Program {
    /// Compiles a filter in libpcap's language (`pcap-filter(7)`); the empty one matches all.
    ///
    /// # Errors
    ///
    /// When libpcap refuses it, when it can match nothing, and when it holds a host name.
    pub fn compile(expression: &str, dialect: Dialect) -> Result<Program, FilterError> {
        if expression.len() > EXPRESSION_LEN_MAX {
            return Err(FilterError::TooLong(expression.len()));
        }
        if let Some(name) = host_names::find(expression) {
            return Err(FilterError::HostName { name: name.to_owned() });
        }
        let capture = open_empty_capture(dialect)?;
        match capture.compile(expression, true) {
            Ok(program) => Ok(Program { dialect, instructions: instructions(&program)? }),
            Err(error) => Err(refusal(expression, dialect, &capture, &error)),
        }
    }

    /// What it was compiled for.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}

/// Opens a file without packets: a handle made without a file would compile VLAN tests for live
/// capture, and would not know the byte order.
fn open_empty_capture(dialect: Dialect) -> Result<pcap::Capture<pcap::Offline>, FilterError> {
    let unavailable = |error: &dyn std::fmt::Display| FilterError::Unavailable(error.to_string());
    let words: [u32; 6] = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 262_144, u32::from(dialect.link_type.0)];
    let mut header = Vec::with_capacity(24);
    for (index, word) in words.into_iter().enumerate() {
        // The version is two 16-bit fields.
        let swapped = if index == 1 { word.rotate_left(16) } else { word };
        match dialect.byte_order {
            ByteOrder::Little => header.extend_from_slice(&swapped.to_le_bytes()),
            ByteOrder::Big => header.extend_from_slice(&word.to_be_bytes()),
        }
    }
    let memory = rustix::fs::memfd_create("tapstone-filter", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = std::fs::File::from(memory.map_err(|error| unavailable(&error))?);
    file.write_all(&header).map_err(|error| unavailable(&error))?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    pcap::Capture::from_file(path).map_err(|error| unavailable(&error))
}

fn instructions(program: &pcap::BpfProgram) -> Result<Vec<Instruction>, FilterError> {
    let raw = program.get_instructions();
    let unknown = |what: String| FilterError::Unavailable(format!("it made {what}"));
    if raw.len() > INSTRUCTIONS_MAX {
        return Err(unknown(format!("a program of {} instructions", raw.len())));
    }
    raw.iter()
        .enumerate()
        .map(|(index, instruction)| {
            // The crate shows an instruction's fields only as text: code, jt, jf, k.
            let text = instruction.to_string();
            let mut fields = text.split(' ').map_while(|field| field.parse::<u32>().ok());
            let mut field = || fields.next().unwrap_or(u32::MAX);
            let fields = (field() as u16, field() as u8, field() as u8, field());
            decode(fields, index, raw.len())
                .ok_or_else(|| unknown(format!("instruction '{text}', which is not known")))
        })
        .collect()
}

fn refusal(
    expression: &str,
    dialect: Dialect,
    capture: &pcap::Capture<pcap::Offline>,
    error: &pcap::Error,
) -> FilterError {
    let message = match error {
        pcap::Error::PcapError(message) => message.clone(),
        other => other.to_string(),
    };
    if message.contains("rejects all packets") {
        return FilterError::RejectsAll(dialect.link_type);
    }
    let named = host_names::tokens(expression)
        .filter(|token| token.len() > 1 && message.contains(token))
        .max_by_key(|token| token.len())
        .and_then(|token| expression.find(token));
    let position = if message.contains("syntax error") {
        Some(understood_length(expression, capture))
    } else {
        named
    };
    FilterError::Refused { expression: expression.to_owned(), message, position }
}

/// How much of an expression from its start is a filter by itself, up to the token behind it.
fn understood_length(expression: &str, capture: &pcap::Capture<pcap::Offline>) -> usize {
    let ends = host_names::tokens(expression).take(256).map(|token| {
        let start = token.as_ptr() as usize - expression.as_ptr() as usize;
        (start, start + token.len())
    });
    let ends: Vec<(usize, usize)> = ends.collect();
    let understood = |end: usize| match capture.compile(&expression[..end], false) {
        Ok(_) => true,
        Err(error) => !error.to_string().contains("syntax error"),
    };
    let last = ends.iter().rposition(|&(_, end)| understood(end));
    ends.get(last.map_or(0, |last| last + 1)).map_or(expression.len(), |&(start, _)| start)
}
