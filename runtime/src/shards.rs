//! Shards: a pinned executor a core, and another beside it for what may wait.

mod plain;
mod ring;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::stream::Stream;

use crate::simulation;
use crate::threads::block_on;

/// How long one task may keep the others, and the completions of the disk, waiting.
const TURN: Duration = Duration::from_micros(500);

/// How long the disk's completions may wait while tasks take turns.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// Longer than it takes to begin it: one that is over when it is first looked at is none.
const SHORTEST_SLEEP: Duration = Duration::from_micros(2);

/// How much less than others scans get of a core, as `nice` has it: a tenth of what they ask for when
/// all ask for all of it. They are preempted as soon as anything else has something to do, in whatever
/// thread.
pub(crate) const NICENESS: i32 = 10;

/// What a task is for: decides its share of the core when several want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskClass {
    /// Taking packets in and making them durable.
    Capture,
    /// Answering questions for which little is read.
    Needle,
    /// Answering questions for which much is read: on a thread of its own, which gives way to
    /// everybody.
    Query,
}

/// Why shards cannot be started, or cannot use io_uring.
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
    /// There can be no more threads.
    #[error("cannot start a thread: {0}; raise the limit on processes (ulimit -u)")]
    Thread(io::Error),
}

/// The cores of this process that do the work.
///
/// Dropping it waits for running tasks and ends the threads.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    /// Beside each shard, on the same core, from when it is first needed; none where that cannot be
    /// started, or is simulated.
    scans: Vec<OnceLock<Option<Shard>>>,
    without_ring: Option<StartError>,
}

struct Shard {
    jobs: Option<Sender<Jobs>>,
    thread: Option<Thread>,
}

enum Thread {
    Ring(glommio::ExecutorJoinHandle<()>),
    Plain(std::thread::JoinHandle<()>),
    Simulated(async_task::Task<()>),
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;
type Job = Box<dyn FnOnce() -> LocalFuture + Send>;
type Jobs = (TaskClass, Job);

impl Shards {
    /// Starts `count` shards on the cores this process may use, wrapping around when there are
    /// fewer cores. Where io_uring is refused they do their I/O by blocking calls; see
    /// [`without_ring`](Self::without_ring).
    ///
    /// # Errors
    ///
    /// When the system refuses threads; the error names the remedy.
    pub fn start(count: usize) -> Result<Shards, StartError> {
        if let Some(world) = simulation::world() {
            let shards = (0..count).map(|_| Shard::simulated(&world)).collect();
            return Ok(Shards::of(shards, None));
        }
        match start_all(count, Shard::on_ring) {
            Ok(shards) => Ok(Shards::of(shards, None)),
            Err(refused) => Self::start_without_ring(count, refused),
        }
    }

    pub(crate) fn start_without_ring(
        count: usize,
        refused: StartError,
    ) -> Result<Shards, StartError> {
        tracing::warn!(%refused, "files are read and written by blocking calls");
        let shards = start_all(count, Shard::on_plain_thread)?;
        Ok(Shards::of(shards, Some(refused)))
    }

    fn of(shards: Vec<Shard>, without_ring: Option<StartError>) -> Shards {
        let scans = shards.iter().map(|_| OnceLock::new()).collect();
        Shards { shards, scans, without_ring }
    }

    /// Why the shards do without io_uring, when they do.
    #[must_use]
    pub fn without_ring(&self) -> Option<&StartError> {
        self.without_ring.as_ref()
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
        let executor = match class {
            TaskClass::Capture | TaskClass::Needle => &self.shards[shard],
            TaskClass::Query => self.beside(shard),
        };
        let jobs = executor.jobs.as_ref().expect("jobs are open until the drop");
        // A shard that died answers with TaskLost: the answer's sender goes with the job.
        jobs.try_send((class, job)).ok();
        Task { answered: Box::pin(answered) }
    }
}

impl Shards {
    /// Where scans are done: beside a shard, or by itself.
    fn beside(&self, shard: usize) -> &Shard {
        let start = || {
            if simulation::world().is_some() {
                return None;
            }
            let role = Role { name: format!("scans-{shard}"), gives_way: true };
            let on_ring = self.without_ring.is_none();
            let start = if on_ring { Shard::on_ring } else { Shard::on_plain_thread };
            let started = start(role, core_of(shard));
            started
                .inspect_err(|error| tracing::warn!(%error, "scans take turns with packets"))
                .ok()
        };
        self.scans[shard].get_or_init(start).as_ref().unwrap_or(&self.shards[shard])
    }
}

/// The thread of an executor: its name, and whether it gives way.
#[derive(Clone, Debug)]
struct Role {
    name: String,
    gives_way: bool,
}

impl Role {
    /// Takes it on, on the thread.
    fn begin(&self) {
        if !self.gives_way {
            return;
        }
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "{} gives way to nobody", self.name);
        }
    }
}

fn start_all(
    count: usize,
    start: impl Fn(Role, usize) -> Result<Shard, StartError>,
) -> Result<Vec<Shard>, StartError> {
    let role = |shard| Role { name: format!("shard-{shard}"), gives_way: false };
    (0..count).map(|shard| start(role(shard), core_of(shard))).collect()
}

fn core_of(shard: usize) -> usize {
    let cores = allowed_cores();
    cores[shard % cores.len()]
}

impl Shard {
    fn on_ring(role: Role, core: usize) -> Result<Shard, StartError> {
        let (jobs, queue) = async_channel::unbounded();
        let thread = ring::start(role, core, queue)?;
        Ok(Shard { jobs: Some(jobs), thread: Some(Thread::Ring(thread)) })
    }

    fn on_plain_thread(role: Role, core: usize) -> Result<Shard, StartError> {
        let (jobs, queue) = async_channel::unbounded();
        let thread = plain::start(role, core, queue).map_err(StartError::Thread)?;
        Ok(Shard { jobs: Some(jobs), thread: Some(Thread::Plain(thread)) })
    }

    fn simulated(world: &Rc<simulation::World>) -> Shard {
        let (jobs, queue) = async_channel::unbounded();
        let spawner = Rc::clone(world);
        let running = run(queue, move |_, task| spawner.spawn(task).detach());
        Shard { jobs: Some(jobs), thread: Some(Thread::Simulated(world.spawn(running))) }
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shard")
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        let scans = self.scans.iter_mut().filter_map(|scans| scans.get_mut()?.as_mut());
        let mut all: Vec<&mut Shard> = self.shards.iter_mut().chain(scans).collect();
        all.iter_mut().for_each(|shard| shard.jobs = None);
        for thread in all.into_iter().filter_map(|shard| shard.thread.take()) {
            let ended_well = match thread {
                Thread::Ring(thread) => thread.join().is_ok(),
                Thread::Plain(thread) => thread.join().is_ok(),
                Thread::Simulated(task) => {
                    block_on(task);
                    true
                }
            };
            if !ended_well {
                tracing::error!("a shard ended badly");
            }
        }
    }
}

/// A shard's loop: spawns jobs until nobody can send any, then waits for the running ones.
async fn run(queue: Receiver<Jobs>, spawn: impl Fn(TaskClass, LocalFuture)) {
    let (running, ended) = async_channel::bounded::<()>(1);
    while let Ok((class, job)) = queue.recv().await {
        let running = running.clone();
        let task = async move {
            job().await;
            drop(running);
        };
        spawn(class, Box::pin(task));
    }
    drop(running);
    // Nothing is ever sent: this returns when the last running task has dropped its end.
    ended.recv().await.ok();
}

thread_local! {
    static ON_RING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a shard on io_uring.
pub(crate) fn is_on_ring() -> bool {
    ON_RING.get()
}

/// Runs `future` beside the current task, on the same shard and in the same class; where I/O
/// blocks, nothing would come of that, and it is run when it is awaited.
///
/// Dropping the handle cancels it.
pub fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> Spawned<T> {
    if is_on_ring() {
        Spawned::Ring(glommio::spawn_local(future))
    } else if let Some(world) = simulation::world() {
        Spawned::Simulated(world.spawn(future))
    } else {
        Spawned::Inline(Box::pin(future))
    }
}

/// Does what waits for the disk and has no completion (a name, a directory) on a thread beside the
/// shard's, which takes packets and answers meanwhile.
///
/// # Panics
///
/// When `work` does.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if is_on_ring() { glommio::executor().spawn_blocking(work).await } else { work() }
}

/// What [`spawn_local`] started.
pub enum Spawned<T> {
    #[doc(hidden)]
    Ring(glommio::Task<T>),
    #[doc(hidden)]
    Simulated(async_task::Task<T>),
    #[doc(hidden)]
    Inline(Pin<Box<dyn Future<Output = T>>>),
}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut *self {
            Spawned::Ring(task) => Pin::new(task).poll(cx),
            Spawned::Simulated(task) => Pin::new(task).poll(cx),
            Spawned::Inline(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawned")
    }
}

thread_local! {
    static TURN_BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// When the rings were last looked at for a task that yielded.
    static RINGS_SEEN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets other tasks of the shard run, by their classes' shares, when this one has had its turn; and
/// the disk's completions in, when that was last done some time ago.
pub async fn yield_if_needed() {
    let now = Instant::now();
    if TURN_BEGAN.get().is_some_and(|began| now - began < TURN) {
        return;
    }
    if is_on_ring() {
        yield_on_ring(now).await;
    } else {
        futures_lite::future::yield_now().await;
    }
    TURN_BEGAN.set(Some(Instant::now()));
}

/// glommio looks at the rings when no task is ready. So all of them go to sleep together when it is
/// time for that, those that are only just getting their turn too.
async fn yield_on_ring(now: Instant) {
    let is_due = |now| RINGS_SEEN.get().is_none_or(|seen| now - seen > BETWEEN_LOOKS);
    if !is_due(now) {
        glommio::executor().yield_task_queue_now().await;
    }
    if is_due(Instant::now()) {
        glommio::timer::sleep(SHORTEST_SLEEP).await;
        RINGS_SEEN.set(Some(Instant::now()));
    }
}

/// Lets other tasks of the shard run for about so long.
pub async fn sleep(duration: Duration) {
    if is_on_ring() {
        glommio::timer::sleep(duration.max(SHORTEST_SLEEP)).await;
    } else if simulation::world().is_some() {
        futures_lite::future::yield_now().await;
    } else {
        // It blocks all that the shard does, as its reads and writes do.
        std::thread::sleep(duration.min(TURN));
        futures_lite::future::yield_now().await;
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
        block_on(self.answered.recv()).map_err(|_| TaskLost)
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

pub(crate) fn allowed_cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    let cores: Vec<usize> =
        (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Shards of both kinds.
    pub(crate) fn both_kinds(count: usize) -> [Shards; 2] {
        let on_ring = Shards::start(count).unwrap();
        if let Some(refused) = on_ring.without_ring() {
            eprintln!("SKIPPED: shards on io_uring: {refused}");
        }
        let refused = StartError::LockedMemory { limit: 1, needed: 2 };
        [on_ring, Shards::start_without_ring(count, refused).unwrap()]
    }

    #[test]
    fn tasks_run_on_their_shard_and_answer_any_thread() {
        for shards in both_kinds(2) {
            tasks_run_and_answer(&shards);
        }
    }

    fn tasks_run_and_answer(shards: &Shards) {
        let name = || std::thread::current().name().map(str::to_owned);
        for shard in 0..2 {
            let of = |class| shards.spawn(shard, class, move || async move { name() });
            let name = |class| of(class).wait().unwrap().unwrap();
            let [own, scans] = [TaskClass::Needle, TaskClass::Query].map(name);
            assert!(own.starts_with(&format!("shard-{shard}")), "{own}");
            assert!(scans.starts_with(&format!("scans-{shard}")), "{scans}");
        }
    }

    /// A sleep of a nanosecond was over before it began, and nobody ever yielded.
    #[test]
    fn a_task_that_yields_lets_others_run() {
        for shards in both_kinds(1) {
            let (done, is_done) = async_channel::bounded::<()>(1);
            let busy = shards.spawn(0, TaskClass::Query, move || async move {
                let began = Instant::now();
                while is_done.try_recv().is_err() && began.elapsed() < Duration::from_secs(10) {
                    yield_if_needed().await;
                }
                began.elapsed()
            });
            let short = shards.spawn(0, TaskClass::Query, move || async move {
                done.send(()).await.ok();
            });
            short.wait().unwrap();
            assert!(busy.wait().unwrap() < Duration::from_secs(5));
        }
    }

    #[test]
    fn answers_from_other_threads_wake_a_shard_every_time() {
        for shards in both_kinds(2) {
            answers_wake(&shards);
        }
    }

    fn answers_wake(shards: &Shards) {
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
        both_kinds(1).into_iter().for_each(dropping_waits);
    }

    fn dropping_waits(shards: Shards) {
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
