//! An export of everything, and the memory that it takes on both sides.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::shared::figures::{mb, resident};
use crate::shared::router::Router;

pub async fn measure(program: &Path, router: &Router, list: &str) {
    let began = Instant::now();
    let mut command = Command::new(program)
        .args([list, "--export", "--json", "--data"])
        .arg(router.path("data"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a command");
    let output = BufReader::new(command.stdout.take().expect("output"));
    let lines = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lines);
    let counting = std::thread::spawn(move || {
        for _ in output.lines().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (before, mut of_command, mut of_router) = (router.process.resident(), 0, 0);
    while command.try_wait().expect("it runs").is_none() {
        of_command = of_command.max(resident_or_zero(command.id()));
        of_router = of_router.max(router.process.resident());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    counting.join().expect("counted");
    println!(
        "export of {list}: {} lines in {:.0} s; memory of the command {:.0} MB at most, of the router {:.0} MB (before: \
         {:.0} MB)",
        lines.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        mb(of_command),
        mb(of_router),
        mb(before)
    );
}

/// A process that has just ended has no memory.
fn resident_or_zero(id: u32) -> usize {
    let has_memory =
        std::fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|text| text.contains("VmRSS"));
    if has_memory { resident(id) } else { 0 }
}
