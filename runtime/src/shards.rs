//! Shards: one pinned executor a core.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::stream::Stream;
use glommio::{
    ExecutorJoinHandle, GlommioError, Latency, LocalExecutorBuilder, Placement, TaskQueueHandle,
};

/// Memory that each executor registers with its ring; buffers beyond it are ordinary memory.
const IO_MEMORY: usize = 512 << 10;
/// Entries of each ring.
const RING_DEPTH: usize = 128;

/// glommio's preemption timer, set so that it never fires: its executor goes to sleep over tasks
/// that are ready when the timer fires between a wake-up and the first look at them, and nothing
/// wakes it. A thread that loses its core for the timer's length in that moment hangs for good.
/// [`yield_if_needed`] does the timer's work.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// How long one task may keep the others, and the completions of the disk, waiting.
const TURN: Duration = Duration::from_millis(2);

/// What a task is for: decides its share of the core when several want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskClass {
    /// Taking packets in and making them durable.
    Capture,
    /// Answering queries.
    Query,
}

/// Why shards cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The limit on locked memory is too small for the rings.
    #[error(
        "locked memory is limited to {limit} bytes, each shard needs {needed}; raise it \
         (ulimit -l, or LimitMEMLOCK= in the service's unit)"
    )]
    LockedMemory {
        /// The limit, in bytes.
        limit: u64,
        /// What one shard needs, in bytes.
        needed: u64,
    },
    /// The kernel refused.
    #[error(
        "cannot start an io_uring executor on core {core}: {source}; io_uring must be allowed \
         (kernel.io_uring_disabled = 0, and the container's seccomp profile)"
    )]
    Refused {
        /// The core.
        core: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The cores of this process that do the work.
///
/// Dropping it waits for running tasks and ends the threads.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
}

struct Shard {
    jobs: Option<Sender<(TaskClass, Job)>>,
    thread: Option<ExecutorJoinHandle<()>>,
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;
type Job = Box<dyn FnOnce() -> LocalFuture + Send>;

impl Shards {
    /// Starts `count` shards on the cores this process may use, wrapping around when there are
    /// fewer cores.
    ///
    /// # Errors
    ///
    /// When the system refuses the rings; the error names the remedy.
    pub fn start(count: usize) -> Result<Shards, StartError> {
        let cores = allowed_cores();
        let start = |shard| Shard::start(shard, cores[shard % cores.len()]);
        Ok(Shards { shards: (0..count).map(start).collect::<Result<_, _>>()? })
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// Runs a task on a shard. `task` makes the future there, and the future never leaves.
    ///
    /// # Panics
    ///
    /// When there is no such shard.
    pub fn spawn<F, Fut, T>(&self, shard: usize, class: TaskClass, task: F) -> Task<T>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = async_channel::bounded(1);
        let job: Job = Box::new(move || {
            let future = task();
            Box::pin(async move {
                // Nobody may be waiting any more; that is theirs to decide.
                answer.send(future.await).await.ok();
            })
        });
        let jobs = self.shards[shard].jobs.as_ref().expect("jobs are open until the drop");
        // A shard that died answers with TaskLost: the answer's sender goes with the job.
        jobs.try_send((class, job)).ok();
        Task { answered: Box::pin(answered) }
    }
}

impl Shard {
    fn start(shard: usize, core: usize) -> Result<Shard, StartError> {
        let (jobs, queue) = async_channel::unbounded();
        let (started, starting) = async_channel::bounded(1);
        let thread = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&format!("shard-{shard}"))
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .preempt_timer(NEVER)
            .spawn(move || async move {
                started.send(()).await.ok();
                run(queue).await;
            })
            .map_err(|error| start_error(core, error))?;
        if starting.recv_blocking().is_err() {
            let error = thread.join().err();
            let error = error.unwrap_or_else(|| io::Error::other("it ended at once").into());
            return Err(start_error(core, error));
        }
        Ok(Shard { jobs: Some(jobs), thread: Some(thread) })
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shard")
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            shard.jobs = None;
        }
        for thread in self.shards.iter_mut().filter_map(|shard| shard.thread.take()) {
            if let Err(error) = thread.join() {
                tracing::error!(%error, "a shard ended badly");
            }
        }
    }
}

/// The task queues of a shard, by class.
#[derive(Clone, Copy)]
struct Queues {
    capture: TaskQueueHandle,
    query: TaskQueueHandle,
}

thread_local! {
    static QUEUES: RefCell<Option<Queues>> = const { RefCell::new(None) };
}

/// A shard's loop: takes jobs until nobody can send any, then waits for the running ones.
async fn run(queue: Receiver<(TaskClass, Job)>) {
    let executor = glommio::executor();
    let make = |shares, name| {
        let shares = glommio::Shares::Static(shares);
        executor.create_task_queue(shares, Latency::NotImportant, name)
    };
    let queues = Queues { capture: make(1000, "capture"), query: make(100, "query") };
    let (running, ended) = async_channel::bounded::<()>(1);
    while let Ok((class, job)) = queue.recv().await {
        let running = running.clone();
        let handle = match class {
            TaskClass::Capture => queues.capture,
            TaskClass::Query => queues.query,
        };
        let task = async move {
            job().await;
            drop(running);
        };
        glommio::spawn_local_into(task, handle).expect("the queue was made above").detach();
    }
    drop(running);
    // Nothing is ever sent: this returns when the last running task has dropped its end.
    ended.recv().await.ok();
}

/// Runs `future` beside the current task, on the same shard and in the same class.
///
/// Dropping the handle cancels it.
pub fn spawn_local<T: 'static>(
    future: impl Future<Output = T> + 'static,
) -> impl Future<Output = T> {
    glommio::spawn_local(future)
}

thread_local! {
    static TURN_BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets other tasks of the shard run, and the disk's completions in, when that was last done some
/// time ago.
pub async fn yield_if_needed() {
    let began = TURN_BEGAN.get();
    if began.is_none_or(|began| began.elapsed() > TURN) {
        // A sleep, however short, is a trip through the reactor; a plain yield is not.
        glommio::timer::sleep(Duration::from_nanos(1)).await;
        TURN_BEGAN.set(Some(Instant::now()));
    }
}

/// The answer of a task on a shard: wait for it on a thread, or await it.
pub struct Task<T> {
    answered: Pin<Box<Receiver<T>>>,
}

/// The shard that ran the task died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard that ran this died (see its panic message); close the store and open it again")]
pub struct TaskLost;

impl<T> Task<T> {
    /// Blocks this thread until the task is done.
    ///
    /// # Errors
    ///
    /// When the task panicked.
    pub fn wait(self) -> Result<T, TaskLost> {
        self.answered.recv_blocking().map_err(|_| TaskLost)
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answered.as_mut().poll_next(cx).map(|answer| answer.ok_or(TaskLost))
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
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

fn allowed_cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    let cores: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_their_shard_and_answer_any_thread() {
        let shards = Shards::start(2).unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        for shard in 0..2 {
            let task = shards.spawn(shard, TaskClass::Query, move || async move { name() });
            let name = task.wait().unwrap().unwrap();
            assert!(name.starts_with(&format!("shard-{shard}")), "{name}");
        }
    }

    #[test]
    fn answers_from_other_threads_wake_a_shard_every_time() {
        let shards = Shards::start(2).unwrap();
        let (ping, pinged) = async_channel::bounded::<u32>(1);
        let (pong, ponged) = async_channel::bounded::<u32>(1);
        let echo = shards.spawn(0, TaskClass::Capture, move || async move {
            let mut echoed = 0;
            while let Ok(number) = pinged.recv().await {
                pong.send(number).await.ok();
                echoed += 1;
            }
            echoed
        });
        for number in 0..20_000 {
            ping.send_blocking(number).unwrap();
            assert_eq!(ponged.recv_blocking(), Ok(number));
        }
        drop(ping);
        assert_eq!(echo.wait(), Ok(20_000));
    }

    /// glommio goes to sleep over a task that is ready when its preemption timer fires between a
    /// wake-up and the first look at the ready tasks, which a core that others want makes likely.
    #[test]
    fn a_shard_wakes_every_time_on_a_core_that_others_want_too() {
        let shards = Shards::start(1).unwrap();
        let (ping, pinged) = async_channel::bounded::<u32>(1);
        let (pong, ponged) = std::sync::mpsc::channel::<u32>();
        let echo = shards.spawn(0, TaskClass::Capture, move || async move {
            while let Ok(number) = pinged.recv().await {
                pong.send(number).unwrap();
            }
        });
        let over = &std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut core = rustix::thread::CpuSet::new();
                    core.set(allowed_cores()[0]);
                    rustix::thread::sched_setaffinity(None, &core).unwrap();
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let began = std::time::Instant::now();
                        while began.elapsed() < Duration::from_millis(4) {
                            std::hint::spin_loop();
                        }
                        std::thread::sleep(Duration::from_micros(200));
                    }
                });
            }
            let answered = (0..2_000).find(|&number| {
                ping.send_blocking(number).unwrap();
                ponged.recv_timeout(Duration::from_secs(5)) != Ok(number)
            });
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(answered, None, "the shard slept over this message");
        });
        drop(ping);
        assert_eq!(echo.wait(), Ok(()));
    }

    #[test]
    fn dropping_waits_for_running_tasks() {
        let shards = Shards::start(1).unwrap();
        let (go, gone) = async_channel::bounded::<()>(1);
        let task = shards.spawn(0, TaskClass::Query, move || async move { gone.recv().await });
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            go.send_blocking(()).unwrap();
        });
        drop(shards);
        assert_eq!(task.wait(), Ok(Ok(())));
        sender.join().unwrap();
    }
}
