//! What is asked of a shard, waiting.

use async_channel::Receiver;

/// The end where a shard takes what is asked of it. However the shard ends, nobody waits for an
/// answer any more: a channel alone would keep what was not taken, and with it the way back, for as
/// long as somebody can still ask.
pub(crate) struct Inbox<T>(pub(crate) Receiver<T>);

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An import waited forever for a shard that had panicked over the batch before.
    #[test]
    fn nobody_waits_for_a_shard_that_is_gone() {
        let (questions, taken) = async_channel::bounded(2);
        let (answer, answered) = async_channel::bounded::<()>(1);
        questions.send_blocking(answer).unwrap();
        drop(Inbox(taken));
        assert!(answered.recv_blocking().is_err());
        assert!(questions.is_closed());
    }
}
