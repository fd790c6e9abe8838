//! What of the store an identity may see.

use std::fmt;

use tapstone::{Timestamp, format_instant};

use super::net::Net;

/// Packets to or from some nets, within some time. Both are checked on every search; neither says
/// anything of what is taken in, nor of `Info`, which tells totals only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// To or from one of these; any when there is none.
    nets: Vec<Net>,
    /// At this instant or later.
    since: Option<Timestamp>,
    /// Before this instant.
    until: Option<Timestamp>,
}

/// Why a search cannot be asked within a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeError {
    /// The filter is not one expression, so it cannot be joined with another.
    #[error(
        "the filter's parentheses do not match{}; every ( needs its )",
        match .0 { Some(byte) => format!(" (at byte {byte})"), None => String::new() }
    )]
    Parentheses(Option<usize>),
    /// The filter has a byte that would end it early.
    #[error("the filter has a NUL byte in it, at byte {0}; leave it out")]
    Nul(usize),
    /// Nothing of the time asked for lies within the scope.
    #[error("you may see {0}, and what you ask for lies outside; ask within it")]
    OutOfTime(Scope),
}

impl Scope {
    pub(super) fn new(nets: Vec<Net>, since: Option<Timestamp>, until: Option<Timestamp>) -> Scope {
        Scope { nets, since, until }
    }

    /// All of the store.
    pub(crate) fn everything() -> Scope {
        Scope::new(Vec::new(), None, None)
    }

    /// None of it: for those who may only ask whether the server is well.
    pub(crate) fn nothing() -> Scope {
        Scope::new(Vec::new(), Some(Timestamp::MAX), Some(Timestamp::MIN))
    }

    /// Whether it leaves nothing out.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Scope::everything()
    }

    /// The pcap filter to ask instead of the caller's: what matches both it and the scope.
    ///
    /// The caller of this function must
    /// - compile the user's filter **by itself** first, for every link type that it will be asked
    ///   of, and refuse it when that fails: its mistakes are then told in the user's words and
    ///   places, not in those of a longer text that the user never wrote;
    /// - ask what comes back and nothing else, in every method that [searches](super::Method::searches).
    ///
    /// Two things keep the scope from being widened, and neither relies on the first point:
    /// - **No way out of the parentheses.** In libpcap's language `(` and `)` are tokens wherever
    ///   they stand (there are no quotes and no comments, and `\` does not escape them), so a text
    ///   whose parentheses match stays within a pair put around it. Any other is refused here.
    /// - **The scope stands first.** `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan` move the place at
    ///   which everything *behind* them looks for its headers, also out of parentheses and under
    ///   `not`. Behind `not vlan`, a `net` would read the bytes of other fields as addresses.
    ///
    /// It follows that a net means the outermost addresses, without a VLAN tag before them, as
    /// `net` does at the beginning of a tcpdump filter: a tagged or labelled packet is in no scope
    /// with nets. That is too little rather than too much.
    pub(crate) fn filter(&self, user: &str) -> Result<String, ScopeError> {
        if let Some(at) = user.find('\0') {
            return Err(ScopeError::Nul(at));
        }
        match_parentheses(user)?;
        let nets: Vec<String> = self.nets.iter().map(|net| format!("net {net}")).collect();
        Ok(match (nets.is_empty(), user.trim().is_empty()) {
            (true, _) => user.to_owned(),
            (false, true) => nets.join(" or "),
            (false, false) => format!("({}) and ({user})", nets.join(" or ")),
        })
    }

    /// The part of a time range (from `since` on, before `until`) that lies in the scope.
    ///
    /// A range that is empty or upside down by itself stays so: whoever plans the query says what is
    /// wrong with it.
    pub(crate) fn clamp(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), ScopeError> {
        if is_empty(since, until) {
            return Ok((since, until));
        }
        let since = self.since.max(since);
        let until = match (self.until, until) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        if is_empty(since, until) {
            return Err(ScopeError::OutOfTime(self.clone()));
        }
        Ok((since, until))
    }
}

fn is_empty(since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
    matches!((since, until), (Some(since), Some(until)) if since >= until)
}

fn match_parentheses(filter: &str) -> Result<(), ScopeError> {
    let mut open = 0_usize;
    for (at, byte) in filter.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' if open == 0 => return Err(ScopeError::Parentheses(Some(at))),
            b')' => open -= 1,
            _ => {}
        }
    }
    if open == 0 { Ok(()) } else { Err(ScopeError::Parentheses(None)) }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_empty(self.since, self.until) {
            return f.write_str("no packets");
        }
        f.write_str(if self.nets.is_empty() { "all packets" } else { "packets to or from " })?;
        for (index, net) in self.nets.iter().enumerate() {
            write!(f, "{}{net}", if index == 0 { "" } else { ", " })?;
        }
        if let Some(since) = self.since {
            write!(f, ", at {} or later", format_instant(since))?;
        }
        if let Some(until) = self.until {
            write!(f, ", before {}", format_instant(until))?;
        }
        Ok(())
    }
}
