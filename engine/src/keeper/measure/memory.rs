//! Memory: what this process and the machine use of what they may.

mod group;
mod table;

use tapstone_runtime::blocking::read_file;

use super::worst;
use crate::state::{MemoryGauge, Part};
use group::Group;
use table::{address_space_limit, kib};

/// What the system says, as it says it. What it does not say is empty.
#[derive(Debug, Default)]
struct Said {
    /// `/proc/self/status`
    status: String,
    /// `/proc/meminfo`
    machine: String,
    /// `/proc/self/limits`
    limits: String,
    /// The control groups that this process is in, those of limited memory.
    groups: Vec<Group>,
}

/// Asks the system.
pub(in super::super) fn read() -> MemoryGauge {
    let text = |path: &str| {
        let bytes = read_file(path.as_ref()).ok().flatten().unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    gauge(&Said {
        status: text("/proc/self/status"),
        machine: text("/proc/meminfo"),
        limits: text("/proc/self/limits"),
        groups: group::read(&text("/proc/self/cgroup"), text),
    })
}

/// The bound that is nearest counts: of the groups, of the address space, of the machine, which
/// others use too. The page cache never does; the system takes it back when memory is wanted.
fn gauge(said: &Said) -> MemoryGauge {
    let total = kib(&said.machine, "MemTotal");
    let of_total = |used: Option<u64>| Some(Part { used: used?, of: total? });
    let available = kib(&said.machine, "MemAvailable");
    let taken = total.zip(available).map(|(total, available)| total.saturating_sub(available));
    let address_space = || {
        let of = address_space_limit(&said.limits)?;
        Some(Part { used: kib(&said.status, "VmSize")?, of })
    };
    let own = [of_total(kib(&said.status, "VmRSS")), of_total(taken), address_space()];
    let groups = said.groups.iter().filter_map(Group::part);
    let worst = worst(own.into_iter().flatten().chain(groups));
    MemoryGauge { used: worst.used, limit: worst.of }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn said() -> Said {
        Said {
            status: "Name:\ttapstone\nVmPeak:\t 9000000 kB\nVmSize:\t 8388608 kB\n\
                     VmRSS:\t  262144 kB\nThreads:\t9\n"
                .to_owned(),
            machine: "MemTotal:       4194304 kB\nMemFree:          100000 kB\n\
                      MemAvailable:    3145728 kB\nCached:          2000000 kB\n"
                .to_owned(),
            limits: "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max cpu time              unlimited            unlimited            seconds\n\
                     Max address space         unlimited            unlimited            bytes\n"
                .to_owned(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn what_the_machine_has_left_counts_for_this_process_too() {
        let gauge_of = gauge(&said());
        assert_eq!(gauge_of, MemoryGauge { used: GIB, limit: 4 * GIB }, "others use most of it");
        let alone = Said {
            machine: "MemTotal: 4194304 kB\nMemAvailable: 4194304 kB\n".to_owned(),
            ..said()
        };
        assert_eq!(gauge(&alone), MemoryGauge { used: GIB / 4, limit: 4 * GIB });
    }

    #[test]
    fn a_limited_address_space_counts() {
        let limits = said().limits.replace(
            "Max address space         unlimited            unlimited",
            "Max address space         10737418240          10737418240",
        );
        let gauge_of = gauge(&Said { limits, ..said() });
        assert_eq!(gauge_of, MemoryGauge { used: 8 * GIB, limit: 10 * GIB });
    }

    #[test]
    fn the_group_that_is_nearest_to_its_limit_counts() {
        let group = |used: u64, limit: u64| Group {
            limit: format!("{limit}\n"),
            stat: format!("anon {used}\nfile 99999999999\nkernel 0\nslab_reclaimable 0\n"),
            is_first: false,
        };
        let groups = vec![group(GIB, 8 * GIB), group(3 * GIB, 4 * GIB)];
        let gauge_of = gauge(&Said { groups, ..said() });
        assert_eq!(gauge_of, MemoryGauge { used: 3 * GIB, limit: 4 * GIB });
    }

    #[test]
    fn what_is_not_said_presses_nobody() {
        assert_eq!(gauge(&Said::default()), MemoryGauge::default());
    }

    #[test]
    fn this_machine_says_something() {
        let gauge = read();
        assert!(gauge.used > 0 && gauge.used < gauge.limit, "{gauge:?}");
    }
}
