//! This process's memory and time, as Linux tells them.

/// A line of `/proc/self/status` in bytes, such as `VmRSS` (now) and `VmHWM` (the most so far).
pub(crate) fn bytes(which: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let kib = line.unwrap().trim_start_matches(':').trim();
    kib.trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Seconds that this process has computed so far.
pub(crate) fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let field = |n: usize| fields.split(' ').nth(n).unwrap().parse::<f64>().unwrap();
    // User and system time are fields 14 and 15, counted before the name; 100 ticks a second on
    // every Linux of today.
    (field(11) + field(12)) / 100.0
}
