//! Watching over a response that its client takes piece by piece: when the client stops taking, or
//! its time is over, what the response holds is let go at once, though nobody asks for it any more.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::Stream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::deadline::Deadline;
use super::errors;

/// A stream of messages that is watched.
pub(super) struct Watched<S> {
    shared: Arc<Mutex<Shared<S>>>,
    watcher: JoinHandle<()>,
}

struct Shared<S> {
    stream: Option<S>,
    /// Why the stream was let go.
    over: Option<Status>,
    /// When the client last asked for something, or got it.
    active: Instant,
    /// Set while the client waits for us.
    waiting: Option<Waker>,
}

impl<S: Stream + Unpin + Send + 'static> Watched<S> {
    pub(super) fn new(stream: S, patience: Duration, deadline: Deadline) -> Watched<S> {
        let (over, active) = (None, Instant::now());
        let shared = Shared { stream: Some(stream), over, active, waiting: None };
        let shared = Arc::new(Mutex::new(shared));
        let watcher = tokio::spawn(watch(Arc::clone(&shared), patience, deadline));
        Watched { shared, watcher }
    }
}

async fn watch<S>(shared: Arc<Mutex<Shared<S>>>, patience: Duration, deadline: Deadline) {
    loop {
        let slow = {
            let shared = lock(&shared);
            if shared.waiting.is_some() { Instant::now() } else { shared.active }
        };
        let slow = slow + patience;
        let next = deadline.0.map_or(slow, |deadline| deadline.min(slow));
        sleep_until(next).await;
        let mut shared = lock(&shared);
        let now = Instant::now();
        let over = if deadline.0.is_some_and(|deadline| deadline <= now) {
            errors::deadline()
        } else if shared.waiting.is_none() && shared.active + patience <= now {
            errors::too_slow(patience.as_secs())
        } else {
            continue;
        };
        shared.stream = None;
        shared.over = Some(over);
        if let Some(client) = shared.waiting.take() {
            client.wake();
        }
        return;
    }
}

impl<S, T> Stream for Watched<S>
where
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        let mut shared = lock(&self.shared);
        if let Some(over) = shared.over.take() {
            return Poll::Ready(Some(Err(over)));
        }
        let Some(stream) = &mut shared.stream else { return Poll::Ready(None) };
        let polled = Pin::new(stream).poll_next(cx);
        shared.active = Instant::now();
        shared.waiting = polled.is_pending().then(|| cx.waker().clone());
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            shared.stream = None;
        }
        polled
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.watcher.abort();
        // The watcher may hold the other end for a while yet.
        lock(&self.shared).stream = None;
    }
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};
    use tonic::Code;

    /// Tells by `Arc::strong_count` whether it is held.
    fn numbers(held: &Arc<()>) -> impl Stream<Item = Result<u32, Status>> + Unpin + Send + 'static {
        let held = Arc::clone(held);
        stream::iter(0..).map(move |number| {
            let _held = &held;
            Ok(number)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_place() {
        let held = Arc::new(());
        let patience = Duration::from_secs(60);
        let mut watched = Watched::new(numbers(&held), patience, Deadline(None));
        for number in 0..5 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            assert_eq!(watched.next().await.unwrap().unwrap(), number);
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(watched.next().await.unwrap().unwrap_err().code(), Code::Aborted);
        assert!(watched.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_it_and_slowness_of_ours_does_not() {
        let deadline = Deadline(Some(Instant::now() + Duration::from_secs(200)));
        let pending = stream::pending::<Result<u32, Status>>();
        let mut watched = Watched::new(pending, Duration::from_secs(60), deadline);
        assert!(watched.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_secs(199)).await;
        assert!(watched.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let over = watched.next().await.unwrap().unwrap_err();
        assert_eq!(over.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_client_that_goes_lets_go_at_once() {
        let held = Arc::new(());
        let watched = Watched::new(numbers(&held), Duration::from_secs(60), Deadline(None));
        drop(watched);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
