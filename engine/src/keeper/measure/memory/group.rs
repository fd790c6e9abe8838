//! Control groups: what the processes of each may use together, in both versions.

use std::path::{Path, PathBuf};

use super::table::bytes;
use crate::state::Part;

/// Where the second version is, and the first.
const SECOND: &str = "/sys/fs/cgroup";
const FIRST: &str = "/sys/fs/cgroup/memory";

/// The first version's way to say that there is no limit is a number that no machine has.
const NO_LIMIT: u64 = 1 << 60;

/// A control group, as it tells of itself.
#[derive(Debug)]
pub(super) struct Group {
    /// `memory.max`, or `memory.limit_in_bytes`
    pub(super) limit: String,
    /// `memory.stat`
    pub(super) stat: String,
    /// Whether it is one of the first version.
    pub(super) is_first: bool,
}

impl Group {
    /// How much of its limit is used and cannot be taken back; `None` where it has no limit.
    pub(super) fn part(&self) -> Option<Part> {
        let used = if self.is_first { used_first(&self.stat) } else { used_second(&self.stat) };
        Some(Part { used: used?, of: limit(&self.limit)? })
    }
}

/// The groups with a limit that a process is in, by what `/proc/self/cgroup` says: its own, and
/// those around it.
pub(super) fn read(own: &str, text: impl Fn(&str) -> String) -> Vec<Group> {
    let all = folders(own).into_iter().flat_map(|(root, folder, is_first)| {
        let name = if is_first { "memory.limit_in_bytes" } else { "memory.max" };
        let above = folder.ancestors().map(Path::to_owned).collect::<Vec<_>>().into_iter();
        let within = above.take_while(move |it| it.starts_with(root));
        within.map(move |folder| (folder.join(name), folder.join("memory.stat"), is_first))
    });
    let limited = all.filter_map(|(limit_at, stat_at, is_first)| {
        let said = text(limit_at.to_str()?);
        limit(&said)?;
        Some(Group { limit: said, stat: text(stat_at.to_str()?), is_first })
    });
    limited.collect()
}

/// The roots and folders of a process's groups. In a container they may be called by names that
/// hold outside of it; what is not there says nothing, and the root is the container's own.
fn folders(own: &str) -> Vec<(&'static str, PathBuf, bool)> {
    let folder = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, is_first) = match controllers {
            "" => (SECOND, false),
            some if some.split(',').any(|it| it == "memory") => (FIRST, true),
            _ => return None,
        };
        Some((root, Path::new(root).join(path.trim_start_matches('/')), is_first))
    };
    own.lines().filter_map(folder).collect()
}

fn limit(text: &str) -> Option<u64> {
    // `max` is none.
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// Memory of the processes and of the kernel, without what it gives back when it is wanted.
fn used_second(stat: &str) -> Option<u64> {
    let or_nothing = |name| bytes(stat, name).unwrap_or(0);
    // Kernels before 5.18 do not add it up.
    let kernel = bytes(stat, "kernel").unwrap_or_else(|| {
        ["kernel_stack", "pagetables", "percpu", "slab"].map(or_nothing).iter().sum()
    });
    let kernel = kernel.saturating_sub(or_nothing("slab_reclaimable"));
    Some(bytes(stat, "anon")? + or_nothing("shmem") + or_nothing("sock") + kernel)
}

/// The same in the first version, which says nothing here of the kernel's.
fn used_first(stat: &str) -> Option<u64> {
    Some(bytes(stat, "total_rss")? + bytes(stat, "total_shmem").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn parts(own: &str, files: &[(&str, &str)]) -> Vec<(u64, u64)> {
        let files: BTreeMap<_, _> = files.iter().copied().collect();
        let text = |path: &str| files.get(path).copied().unwrap_or_default().to_owned();
        let groups = read(own, text);
        groups.iter().filter_map(Group::part).map(|part| (part.used, part.of)).collect()
    }

    #[test]
    fn the_page_cache_of_a_group_does_not_count() {
        let stat = "anon 1000\nfile 5000\nkernel 300\nkernel_stack 7\npagetables 8\nsock 20\n\
                    shmem 40\nslab_reclaimable 100\nslab_unreclaimable 50\nslab 150\n";
        let files = [
            ("/sys/fs/cgroup/system.slice/tapstone.service/memory.max", "10000\n"),
            ("/sys/fs/cgroup/system.slice/tapstone.service/memory.stat", stat),
            ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.stat", stat),
        ];
        let own = "0::/system.slice/tapstone.service\n";
        assert_eq!(parts(own, &files), [(1260, 10000)]);
        let older = stat.replace("kernel 300\n", "percpu 30\n");
        let files = [files[0], (files[1].0, older.as_str())];
        assert_eq!(parts(own, &files), [(1000 + 40 + 20 + 7 + 8 + 30 + 50, 10000)]);
    }

    #[test]
    fn the_groups_around_a_group_count_too() {
        let files = [
            ("/sys/fs/cgroup/a/memory.max", "500"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 400\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "900"),
            ("/sys/fs/cgroup/a/b/memory.stat", "anon 300\n"),
        ];
        assert_eq!(parts("0::/a/b\n", &files), [(300, 900), (400, 500)]);
    }

    #[test]
    fn the_first_version_is_understood() {
        let own = "12:pids:/x\n4:cpu,memory:/docker/abc\n1:name=systemd:/y\n0::/z\n";
        let stat = "cache 9000\nrss 5\ntotal_cache 9000\ntotal_rss 700\ntotal_shmem 20\n";
        let files = [
            ("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/docker/abc/memory.stat", stat),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.stat", stat),
        ];
        assert_eq!(parts(own, &files), [(720, 1000)]);
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_root() {
        let files =
            [("/sys/fs/cgroup/memory.max", "800"), ("/sys/fs/cgroup/memory.stat", "anon 200\n")];
        assert_eq!(parts("0::/docker/0123\n", &files), [(200, 800)]);
    }

    #[test]
    fn whatever_is_said_is_read_without_harm() {
        for own in ["", "::", "0", "0:", "0::", "x:memory", "0::../../..\n", "0::/a\0b\n"] {
            assert_eq!(parts(own, &[]), []);
        }
        let senseless = [("/sys/fs/cgroup/memory.max", "many"), ("/sys/fs/cgroup/memory.stat", "")];
        assert_eq!(parts("0::/", &senseless), []);
        let no_stat = [("/sys/fs/cgroup/memory.max", "500")];
        assert_eq!(parts("0::/", &no_stat), []);
    }
}
