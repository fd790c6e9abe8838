//! How idle this process's cores are.

use crate::shards::allowed_cores;
use crate::simulation;

/// Where the system says what its cores have done.
const STAT: &str = "/proc/stat";

/// Looks at the cores from time to time.
#[derive(Debug, Default)]
pub struct IdleCores {
    before: Option<Ticks>,
}

/// What the cores have done since the system started, in ticks of a hundredth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
    cores: u64,
}

impl IdleCores {
    /// How many of the cores that this process may use were idle since it was last looked; 0 at
    /// first, and where the system does not say.
    pub fn look(&mut self) -> f64 {
        if simulation::world().is_some() {
            return 0.0;
        }
        let text = std::fs::read_to_string(STAT).unwrap_or_default();
        let now = parse(&text, &allowed_cores());
        let Some(before) = self.before.replace(now) else { return 0.0 };
        idle(before, now)
    }
}

fn idle(before: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(before.all);
    if all == 0 {
        return 0.0;
    }
    now.idle.saturating_sub(before.idle) as f64 / all as f64 * now.cores as f64
}

/// Adds up the lines of some cores: `cpu3 user nice system idle iowait irq softirq steal …`.
fn parse(text: &str, cores: &[usize]) -> Ticks {
    let mut ticks = Ticks::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let core = words.next().and_then(|name| name.strip_prefix("cpu"));
        let core: Option<usize> = core.and_then(|number| number.parse().ok());
        if !core.is_some_and(|core| cores.contains(&core)) {
            continue;
        }
        // Guests are counted among the users.
        let numbers: Vec<u64> = words.take(8).map_while(|it| it.parse().ok()).collect();
        // A core that waits for a disk can do something else.
        ticks.idle += numbers.iter().skip(3).take(2).sum::<u64>();
        ticks.all += numbers.iter().sum::<u64>();
        ticks.cores += 1;
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  30 0 30 120 20 0 0 0 0 0\n\
                        cpu0 10 0 10 60 20 0 0 0 0 0\n\
                        cpu1 10 0 20 60 0 5 5 0 7 0\n\
                        cpu12 1 1 1 1 1 1 1 1 1 1\n\
                        intr 5 5 5\nctxt 7\n";

    #[test]
    fn the_cores_that_may_be_used_are_counted() {
        assert_eq!(parse(TEXT, &[0]), Ticks { idle: 80, all: 100, cores: 1 });
        assert_eq!(parse(TEXT, &[0, 1]), Ticks { idle: 140, all: 200, cores: 2 });
        assert_eq!(parse(TEXT, &[2]), Ticks::default());
        assert_eq!(parse("cpu0 1 x 2", &[0]), Ticks { idle: 0, all: 1, cores: 1 });
        assert_eq!(parse("", &[0]), Ticks::default());
    }

    #[test]
    fn idleness_is_of_the_time_between() {
        let ticks = |idle, all| Ticks { idle, all, cores: 4 };
        assert_eq!(idle(ticks(100, 1000), ticks(120, 1040)), 2.0);
        assert_eq!(idle(ticks(100, 1000), ticks(100, 1000)), 0.0, "no time has passed");
        assert_eq!(idle(ticks(100, 1000), ticks(50, 1040)), 0.0, "it was set back");
    }

    #[test]
    fn what_the_system_says_is_understood() {
        let text = std::fs::read_to_string(STAT).unwrap();
        let ticks = parse(&text, &allowed_cores());
        assert_eq!(ticks.cores as usize, allowed_cores().len());
        assert!(ticks.all > 0 && ticks.idle <= ticks.all);
        assert_eq!(IdleCores::default().look(), 0.0, "nothing is known at first");
    }
}
