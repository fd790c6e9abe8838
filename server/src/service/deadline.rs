//! How long a client is willing to wait.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, Status};

use super::errors;

/// When a request's time is over; never, when its client did not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Option<Instant>);

impl Deadline {
    /// What the client said in the `grpc-timeout` header.
    pub(super) fn of<T>(request: &Request<T>) -> Deadline {
        let text = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = text.and_then(parse);
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }
}

/// Waits for `work` as long as there is time.
pub(super) async fn within<T>(
    deadline: Deadline,
    work: impl Future<Output = T>,
) -> Result<T, Status> {
    match deadline.0 {
        Some(end) => tokio::time::timeout_at(end, work).await.map_err(|_| errors::deadline()),
        None => Ok(work.await),
    }
}

/// Reads a timeout: up to eight digits and a unit, as gRPC's HTTP/2 protocol says.
fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse("15S"), Some(Duration::from_secs(15)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("7u"), Some(Duration::from_micros(7)));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1é", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
