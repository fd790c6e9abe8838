//! Tables of `/proc`.

/// A number of kibibytes behind a name, in bytes.
pub(super) fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// A number of bytes behind a name, as control groups write it.
pub(super) fn bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// How much address space a process may have, where that is limited (`/proc/self/limits`).
pub(super) fn address_space_limit(text: &str) -> Option<u64> {
    let values = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    values.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_numbers_are_numbers() {
        let text = "VmRSSx:\t5 kB\nVmRSS:\t     7 kB\nVmLck:\tmuch kB\nVmPin:\t7 MB\n";
        assert_eq!(kib(text, "VmRSS"), Some(7 << 10));
        for absent in ["VmLck", "VmPin", "VmSwap", "Vm"] {
            assert_eq!(kib(text, absent), None, "{absent}");
        }
        assert_eq!(kib("A: 99999999999999999999 kB", "A"), None);
        assert_eq!(kib("A: 18446744073709551615 kB", "A"), None);
    }

    #[test]
    fn statistics_of_groups_are_read_by_name() {
        let text = "anon 5\nanon_thp 7\nfile 9\n";
        assert_eq!((bytes(text, "anon"), bytes(text, "anon_thp")), (Some(5), Some(7)));
        assert_eq!(bytes(text, "ano"), None);
    }

    #[test]
    fn an_address_space_without_limit_has_none() {
        let line = |value| format!("Max address space         {value}            1 bytes\n");
        assert_eq!(address_space_limit(&line("unlimited")), None);
        assert_eq!(address_space_limit(&line("4096")), Some(4096));
        assert_eq!(address_space_limit(""), None);
    }
}
