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
    #[cfg(test)]
    pub(crate) fn is_everything(&self) -> bool {
        *self == Scope::everything()
    }

    /// The pcap filters of which a packet must match one, besides the caller's
    /// ([`tapstone::Selection::within`]); empty when any packet may be seen.
    ///
    /// They are never joined with the caller's text, so nothing in it can widen them: no parenthesis
    /// leads out of it, and no `vlan`, which moves the place at which everything behind it looks for
    /// its headers, reaches them. For the same reason a tagged packet has a filter of its own, and so
    /// has one with two tags. A net means the outermost addresses; what lies within a tunnel, or behind
    /// labels, is not looked at.
    pub(crate) fn within(&self) -> Vec<String> {
        if self.nets.is_empty() {
            return Vec::new();
        }
        let nets: Vec<String> = self.nets.iter().map(|net| format!("net {net}")).collect();
        let nets = nets.join(" or ");
        vec![nets.clone(), format!("vlan and ({nets})"), format!("vlan and vlan and ({nets})")]
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
