//! What the process takes.

/// Bytes of memory that this process has resident; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_says() {
        assert_eq!(resident("Name:\toutflow\nVmRSS:\t   31748 kB\nRssAnon:\t 1 kB\n"), Some(31_748 * 1024));
        assert_eq!(resident("Name:\toutflow\n"), None);
        assert_eq!(resident("VmRSS: many kB"), None);
        #[cfg(target_os = "linux")]
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
