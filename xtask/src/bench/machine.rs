//! What a number was measured on: without it a table says little.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::sample::middle;
use super::table::time;
use super::{Result, process, record};

/// How many syncs the median of [`sync_time`] is of.
const SYNCS: usize = 100;

/// Prints the machine: cores, memory, load, the time a sync takes in the folder that the data will be in.
pub fn print(dir: &Path) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory =
        memory.map_or_else(|| "unknown memory".to_owned(), |kib| format!("{:.0} GiB", kib / 1048576.0));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    record::machine(&format!("machine     {model}, {cores} cores, {memory}, load before {load}"));
    record::machine(&format!("a sync      {} (median of {SYNCS})", time(Some(sync_time(dir)?))));
    Ok(())
}

/// Prints the version of a program, as it tells it.
pub fn print_version(name: &str, program: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.arg("--version");
    record::machine(&format!("{name:<12}{}", process::run(command)?.stdout.trim()));
    Ok(())
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// How long it takes to make 4 KiB durable: the floor of a durable write by one connection. Far below 0.05 ms the
/// folder is not on a disk, and durable numbers mean nothing.
fn sync_time(dir: &Path) -> Result<Duration> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut file = tempfile::tempfile_in(dir).map_err(failed)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        process::check()?;
        let started = Instant::now();
        file.write_all(&[1; 4096]).and_then(|()| file.sync_data()).map_err(failed)?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(middle(times)))
}
