//! Processes under test: on a core of their own, ended with their owner.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::figures;

/// The environment variable by which a process started by a benchmark knows its part.
const ROLE: &str = "SWITCHHOOK_BENCH_ROLE";

/// The core of what is under test; load and receivers have [`OTHER_CORE`].
const CORE: &str = "0";
const OTHER_CORE: &str = "1";

/// What this process was started for; empty: the benchmark itself.
pub fn role() -> String {
    std::env::var(ROLE).unwrap_or_default()
}

/// This program in a role.
pub fn in_role(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(ROLE, role);
    command
}

/// Keeps this process off the core of what is under test, where the system can.
pub fn step_aside() {
    let args = ["-a", "-c", "-p", OTHER_CORE, &std::process::id().to_string()];
    let _ = Command::new("taskset").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// An address where nothing listens.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// A program on the core for what is under test.
pub fn on_its_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", CORE]).arg(program);
    command
}

/// A process; dropped, it is killed.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("it starts"))
    }

    /// Starts this program in a role, on the core for what is under test; gives the first line it
    /// writes, too.
    pub fn in_role(role: &str) -> (Self, String) {
        let mut command = on_its_core(&std::env::current_exe().expect("this program"));
        command.env(ROLE, role).stdout(Stdio::piped());
        let mut process = Self::start(command);
        let output = process.0.stdout.take().expect("output");
        let line = BufReader::new(output).lines().next().expect("a line").expect("text");
        (process, line)
    }

    /// Kills it (`kill -9`) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops it until it [goes on](Self::go_on).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("a process");
    }

    /// Microseconds of CPU it has had so far, also in threads that have ended; the system counts in steps of 10 ms.
    pub fn whole_cpu(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("its figures");
        // Behind the name: field 3 and those after it. Fields 14 and 15 are the time in user and system mode.
        let fields = text.rsplit(") ").next().expect("fields").split(' ');
        let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks"));
        ticks.sum::<u64>() as f64 * 1e4
    }

    /// CPU time its threads have had so far.
    pub fn cpu(&self) -> CpuTime {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("its threads");
        let of_thread = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.ok()?;
            let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((entry.file_name().into_string().ok()?, text.split(' ').next()?.parse().ok()?))
        };
        CpuTime(threads.filter_map(of_thread).collect())
    }

    /// Resident bytes.
    pub fn resident(&self) -> usize {
        figures::resident(self.0.id())
    }
}

/// Nanoseconds by thread, as the scheduler counts them.
pub struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    /// Microseconds since an earlier time. A thread that ended meanwhile does not count.
    pub fn since(&self, earlier: &Self) -> f64 {
        let spent = |(thread, now): (&String, &u64)| now - earlier.0.get(thread).unwrap_or(&0);
        self.0.iter().map(spent).sum::<u64>() as f64 / 1e3
    }
}
