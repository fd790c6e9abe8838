//! Shards where io_uring is refused: a thread each, whose reads and writes block it.

use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;

use async_channel::Receiver;
use async_executor::LocalExecutor;

use super::{Jobs, Role};

/// Starts a shard on a core.
pub(super) fn start(role: Role, core: usize, queue: Receiver<Jobs>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(role.name.clone()).spawn(move || {
        role.begin();
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core);
        if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
            tracing::debug!(%error, core, "a shard runs on any core");
        }
        let executor = Rc::new(LocalExecutor::new());
        let tasks = Rc::clone(&executor);
        let running = super::run(queue, move |_, task| tasks.spawn(task).detach());
        futures_lite::future::block_on(executor.run(running));
    })
}
