//! Shards on io_uring: a glommio executor each.

use std::io;
use std::time::Duration;

use async_channel::Receiver;
use glommio::{
    ExecutorJoinHandle, GlommioError, Latency, LocalExecutorBuilder, Placement, TaskQueueHandle,
};

use super::{Jobs, LocalFuture, Role, StartError, TaskClass};

/// Memory that each executor registers with its ring; buffers beyond it are ordinary memory.
const IO_MEMORY: usize = 512 << 10;
/// Entries of each ring.
const RING_DEPTH: usize = 128;

/// glommio's preemption timer, set so that it never fires: its executor goes to sleep over tasks
/// that are ready when the timer fires between a wake-up and the first look at them, and nothing
/// wakes it. A thread that loses its core for the timer's length in that moment hangs for good.
/// [`super::yield_if_needed`] does the timer's work.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// The task queues of a shard, by class.
#[derive(Clone, Copy)]
struct Queues {
    capture: TaskQueueHandle,
    needle: TaskQueueHandle,
    query: TaskQueueHandle,
}

/// Starts a shard on a core.
pub(super) fn start(
    role: Role,
    core: usize,
    queue: Receiver<Jobs>,
) -> Result<ExecutorJoinHandle<()>, StartError> {
    // glommio panics where the kernel refuses the very first call.
    probe().map_err(|source| StartError::Refused { core, source })?;
    let (started, starting) = async_channel::bounded(1);
    let thread = LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&role.name)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .preempt_timer(NEVER)
        .spawn(move || async move {
            super::ON_RING.set(true);
            role.begin();
            started.send(()).await.ok();
            let executor = glommio::executor();
            let make = |shares, name| {
                let shares = glommio::Shares::Static(shares);
                executor.create_task_queue(shares, Latency::NotImportant, name)
            };
            let queues = Queues {
                capture: make(1000, "capture"),
                needle: make(1000, "needle"),
                query: make(100, "query"),
            };
            super::run(queue, |class, task| spawn(queues, class, task)).await;
        })
        .map_err(|error| start_error(core, error))?;
    if starting.recv_blocking().is_err() {
        let error = thread.join().err();
        let error = error.unwrap_or_else(|| io::Error::other("it ended at once").into());
        return Err(start_error(core, error));
    }
    Ok(thread)
}

/// Makes a small ring and asks what it can do, as glommio will.
fn probe() -> io::Result<()> {
    let ring = io_uring::IoUring::new(2)?;
    ring.submitter().register_probe(&mut io_uring::Probe::new())
}

fn spawn(queues: Queues, class: TaskClass, task: LocalFuture) {
    let handle = match class {
        TaskClass::Capture => queues.capture,
        TaskClass::Needle => queues.needle,
        TaskClass::Query => queues.query,
    };
    glommio::spawn_local_into(task, handle).expect("the queue was made at the start").detach();
}

fn start_error(core: usize, error: GlommioError<()>) -> StartError {
    let source = io::Error::from(error);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let needed = IO_MEMORY as u64;
    match limit {
        Some(limit) if limit < needed => StartError::LockedMemory { limit, needed },
        _ => StartError::Refused { core, source },
    }
}
