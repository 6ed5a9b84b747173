//! How much memory decoded documents may take, where nobody says.

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System, get_current_pid};

/// Mebibytes of decoded documents where it is not known how much memory there is.
const UNKNOWN: u32 = 128;

/// The part of the memory that they may take, and between how many mebibytes that is kept. The rest is for the page cache,
/// which has the files of the store, and for others on the machine.
const PART: u64 = 8;
const LEAST: u64 = 64;
const MOST: u64 = 4_096;

/// Mebibytes of decoded documents by the memory that this process may use: the machine's, or what its control group allows.
pub fn cache_mb() -> u32 {
    part_of(available())
}

fn part_of(bytes: Option<u64>) -> u32 {
    bytes.map_or(UNKNOWN, |bytes| (((bytes >> 20) / PART).clamp(LEAST, MOST)) as u32)
}

fn available() -> Option<u64> {
    let mut system = System::new_with_specifics(RefreshKind::nothing()).ok()?;
    system.refresh_memory();
    let own = get_current_pid().ok().and_then(|pid| {
        let kind = ProcessRefreshKind::nothing();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
        system.process(pid)?.cgroup_limits()
    });
    let limits = [own, system.cgroup_limits()].into_iter().flatten().map(|limits| limits.total_memory);
    limits.chain([system.total_memory()]).filter(|bytes| *bytes > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_eighth_within_bounds() {
        assert_eq!(part_of(None), 128);
        assert_eq!(part_of(Some(100 << 20)), 64);
        assert_eq!(part_of(Some(2 << 30)), 256);
        assert_eq!(part_of(Some(24 << 30)), 3_072);
        assert_eq!(part_of(Some(1 << 40)), 4_096);
    }

    #[test]
    fn the_memory_of_this_machine_is_known() {
        let bytes = available().unwrap();
        assert!(bytes > 64 << 20, "{bytes}");
    }
}
