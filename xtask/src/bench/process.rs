//! Processes that never outlive the benchmark: a [`Running`] process is stopped when dropped, and every wait ends early
//! when the benchmark is interrupted, so that one way of cleaning up serves success, error and Ctrl-C.
//!
//! Each child has a process group of its own: a Ctrl-C in the terminal reaches the benchmark alone, which then stops its
//! children in its own order, and with them what they started (the compilers below cargo).

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use super::Result;

/// How long a process may take to stop when asked, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a waiting benchmark looks again.
const TICK: Duration = Duration::from_millis(10);

/// Set by Ctrl-C or SIGTERM.
static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C and SIGTERM end the benchmark by way of [`check`].
pub fn catch_interrupts() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
    }
    Ok(())
}

/// An error once the benchmark was interrupted.
pub fn check() -> Result<()> {
    match INTERRUPTED.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => Err("interrupted".into()),
        _ => Ok(()),
    }
}

/// Sleeps for one tick, or says that the benchmark was interrupted.
pub fn tick() -> Result<()> {
    check()?;
    sleep(TICK);
    Ok(())
}

/// A child process, stopped when dropped.
pub struct Running {
    name: String,
    child: Child,
    stop: Signal,
}

impl Running {
    /// Starts it; `stop` is the signal that makes it end cleanly.
    pub fn start(mut command: Command, stop: Signal) -> Result<Running> {
        command.stdin(Stdio::null());
        Running::spawn(command, stop)
    }

    fn spawn(mut command: Command, stop: Signal) -> Result<Running> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} could not be started: {error}"))?;
        Ok(Running { name, child, stop })
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|error| format!("{}: {error}", self.name).into())
    }

    /// The most memory it had at once, in bytes; none if it has ended or the system does not tell.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// The time that it has had of the processors; none if it has ended or the system does not tell.
    pub fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // Behind the name, which may hold anything: the 12th and the 13th, in ticks.
        let mut fields = stat.rsplit(") ").next()?.split(' ').skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Asks it and what it started to end, and waits until it has; kills them after [`STOP_TIMEOUT`].
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(self.stop)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut killed = false;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if !killed && Instant::now() > deadline {
                eprintln!("{} did not stop within {} s and is killed", self.name, STOP_TIMEOUT.as_secs());
                self.signal(Signal::KILL)?;
                killed = true;
            }
            sleep(TICK);
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match kill_process_group(Pid::from_child(&self.child), signal) {
            // It has just ended by itself.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(format!("{} could not be stopped: {error}", self.name).into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}

/// The time that this process has had of the processors.
pub fn own_cpu_time() -> Duration {
    let of = |time: rustix::time::Timespec| Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    of(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime))
}

/// A child that answers each line it is given by a line, and ends when there is no more.
pub struct Answering {
    running: Running,
    // Closed to say that there is no more.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Answering {
    /// Starts it; what it has to tell of errors goes where this program's do.
    pub fn start(mut command: Command) -> Result<Answering> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::spawn(command, Signal::TERM)?;
        let (input, output) = (running.child.stdin.take(), running.child.stdout.take());
        let output = BufReader::new(output.ok_or("a child without an output")?);
        Ok(Answering { running, input, output })
    }

    /// Gives it a line, and waits for its answer.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        let written = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        match written {
            Some(Ok(())) => self.line(),
            _ => Err(format!("{} has ended", self.running.name).into()),
        }
    }

    /// The next line that it tells.
    pub fn line(&mut self) -> Result<String> {
        check()?;
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        match read.map_err(|error| format!("{}: {error}", self.running.name))? {
            0 => Err(format!("{} has ended", self.running.name).into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Tells it that there is no more; it must end well.
    pub fn finish(mut self) -> Result<()> {
        drop(self.input.take());
        loop {
            match self.running.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended with {status}", self.running.name).into()),
                None => tick()?,
            }
        }
    }
}

/// What a command that ran to its end left.
pub struct Finished {
    /// Its standard output.
    pub stdout: String,
    /// From start to end.
    pub took: Duration,
    /// The most memory it had at once, in bytes, as far as the system told.
    pub peak_memory: Option<u64>,
}

/// Runs a command to its end; an error with what it wrote where it fails, or where the benchmark is interrupted.
pub fn run(mut command: Command) -> Result<Finished> {
    let capture = || tempfile::tempfile().map_err(|error| format!("no temporary file: {error}"));
    let handle = |file: &File| file.try_clone().map_err(|error| format!("no temporary file: {error}"));
    let (mut stdout, mut stderr) = (capture()?, capture()?);
    command.stdout(handle(&stdout)?).stderr(handle(&stderr)?);
    let shown = format!("{command:?}");
    let started = Instant::now();
    // The signal of a one-off command: nothing of it needs to be kept.
    let mut running = Running::start(command, Signal::TERM)?;
    let mut peak_memory = None;
    let status = loop {
        peak_memory = running.peak_memory().max(peak_memory);
        match running.ended()? {
            Some(status) => break status,
            None => tick()?,
        }
    };
    let took = started.elapsed();
    let stdout = text(&mut stdout)?;
    if status.success() {
        return Ok(Finished { stdout, took, peak_memory });
    }
    let stderr = text(&mut stderr)?;
    let shown: String = shown.chars().take(400).collect();
    Err(format!("{shown}\nended with {status}:\n{}{}", last_lines(&stdout), last_lines(&stderr)).into())
}

/// Runs a command with what it prints in a file; its status, none where it had not ended within the time and was stopped.
pub fn run_within(mut command: Command, printed: &Path, most: Duration) -> Result<Option<ExitStatus>> {
    let told = |error| format!("{}: {error}", printed.display());
    let file = File::create(printed).map_err(told)?;
    command.stderr(file.try_clone().map_err(told)?).stdout(file);
    let deadline = Instant::now() + most;
    let mut running = Running::start(command, Signal::TERM)?;
    loop {
        if let Some(status) = running.ended()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            running.stop()?;
            return Ok(None);
        }
        tick()?;
    }
}

/// The path of a program in what cargo tells of a build, a JSON object on each line.
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(|error| format!("what the process wrote cannot be read: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The end of a long text, where the reason of a failure stands.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = lines[lines.len().saturating_sub(20)..].join("\n");
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_gives_its_output_and_its_memory() {
        let finished = run(shell("echo out; echo err >&2; sleep 0.05")).unwrap();
        assert_eq!(finished.stdout, "out\n");
        assert!(finished.took >= Duration::from_millis(50));
        assert!(finished.peak_memory.is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn a_failing_command_says_why() {
        let error = run(shell("echo the reason >&2; exit 3")).err().unwrap().to_string();
        assert!(error.contains("the reason") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_command_that_goes_on_for_too_long_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let printed = folder.path().join("printed");
        let ended =
            run_within(shell("echo begun; exec sleep 60"), &printed, Duration::from_millis(200)).unwrap();
        assert!(ended.is_none());
        assert_eq!(std::fs::read_to_string(&printed).unwrap(), "begun\n");
        let ended = run_within(shell("exit 3"), &printed, Duration::from_secs(10)).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn what_a_dropped_process_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! >{}; wait", file.display());
        let running = Running::start(shell(&script), Signal::TERM).unwrap();
        let pid: u32 = loop {
            match std::fs::read_to_string(&file).unwrap_or_default().strip_suffix('\n') {
                Some(line) => break line.parse().unwrap(),
                None => sleep(TICK),
            }
        };
        drop(running);
        // Whoever adopts it takes a moment to see that it is gone.
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
            Err(_) => true,
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while !gone() {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            sleep(TICK);
        }
    }

    #[test]
    fn the_binary_is_found_among_the_messages_of_cargo() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/t/other\"}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"corollary\"},\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"corollary\"},\"executable\":\"/t/corollary\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages, "corollary"), Some(PathBuf::from("/t/corollary")));
        assert_eq!(executable(messages, "other"), Some(PathBuf::from("/t/other")));
        assert_eq!(executable("Finished\n", "corollary"), None);
    }

    #[test]
    fn one_that_answers_is_asked_again_and_again_and_ends_well() {
        let mut echo = Command::new("sh");
        echo.args(["-c", "while read line; do echo \"got $line\"; done"]);
        let mut answering = Answering::start(echo).unwrap();
        assert_eq!(answering.ask("one").unwrap(), "got one");
        assert_eq!(answering.ask("two").unwrap(), "got two");
        answering.finish().unwrap();
        let mut failing = Answering::start(shell("read line; exit 3")).unwrap();
        assert!(failing.ask("one").unwrap_err().to_string().contains("ended"));
        assert!(failing.finish().unwrap_err().to_string().contains("exit status: 3"));
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let mut running = Running::start(shell("exec sleep 60"), Signal::TERM).unwrap();
        assert!(running.ended().unwrap().is_none());
        let pid = running.child.id();
        drop(running);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
