//! Trying many seeds, on every core.

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::life::Script;

/// Seeds that are tried when nobody says how many.
const USUAL: u64 = 4;

/// Whether some seed failed: the others need not be tried to their end.
static OVER: AtomicBool = AtomicBool::new(false);

pub(super) fn is_over() -> bool {
    OVER.load(Ordering::Relaxed)
}

/// Tries one seed in so many, as `cost` says; panics with the first that failed.
#[expect(clippy::print_stdout, reason = "how much was tried is part of the result")]
pub(super) fn try_all<T: AddAssign + Default + Send + std::fmt::Display>(
    what: &str,
    cost: u64,
    attempt: impl Fn(u64, &mut T) -> Result<(), String> + Sync,
) {
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(USUAL).div_ceil(cost),
    };
    keep_redb_quiet();
    let (next, failed, total) = (AtomicU64::new(seeds.start), Mutex::new(None), Mutex::default());
    let began = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.lock().unwrap().is_some() {
                return;
            }
            let mut tried = T::default();
            let attempt = catch_unwind(AssertUnwindSafe(|| attempt(seed, &mut tried)));
            let result = attempt.unwrap_or_else(|_| Err("panicked, see above".to_owned()));
            *total.lock().unwrap() += tried;
            if let Err(error) = result {
                failed.lock().unwrap().get_or_insert((seed, error));
                OVER.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    let total: T = total.into_inner().unwrap();
    if let Some((seed, error)) = failed.into_inner().unwrap() {
        panic!("{what}: SEED={seed}: {error}\n{:?}", Script::new(seed));
    }
    let seconds = began.elapsed().as_secs_f32();
    println!("{what}: {} seeds, {total}, {seconds:.0} s", seeds.end - seeds.start);
}

/// redb panics over pages that are damaged, and is caught; the messages would be thousands.
fn keep_redb_quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let inside = |place: &std::panic::Location<'_>| place.file().contains("/redb-");
            if !info.location().is_some_and(inside) {
                before(info);
            }
        }));
    });
}
