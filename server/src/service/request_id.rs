//! What a request is called in log, audit log and traces.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where a client can name its request, and where it is told the name.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Most characters of a client's name.
const LEN_MAX: usize = 64;

/// The client's name for a request, or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    /// Of a request with these headers. A client's name that could be mistaken for something else
    /// in a log is not taken.
    pub(super) fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        match given.filter(|it| (1..=LEN_MAX).contains(&it.len()) && it.chars().all(is_plain)) {
            Some(given) => RequestId(given.into()),
            None => RequestId(next().into()),
        }
    }

    pub(super) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("it has plain characters only")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no other request of this server has, nor those of its earlier lives.
fn next() -> String {
    static START: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_millisecond());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:x}-{}", *START, NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &str) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(given).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_plain_name_is_kept_and_anything_else_gets_one_of_ours() {
        assert_eq!(of("trace-1.A_b").to_string(), "trace-1.A_b");
        let strange = ["", "a b", "a=b", "{\"x\":1}", &"a".repeat(LEN_MAX + 1)];
        let ours: Vec<String> = strange.iter().map(|given| of(given).to_string()).collect();
        assert!(strange.iter().zip(&ours).all(|(given, ours)| given != ours));
        let different: std::collections::BTreeSet<_> = ours.iter().collect();
        assert_eq!(different.len(), ours.len());
        assert_eq!(of(&ours[0]).to_string(), ours[0]);
    }
}
