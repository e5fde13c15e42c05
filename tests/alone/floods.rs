//! What receivers that flood over HTTP/2 can cost a router: memory and processor time, per attempt.

use std::time::{Duration, Instant};

use switchhook::Clock;

use crate::world::rude::{frame, rude, secured, status};
use crate::world::{Issuer, PATIENCE, Process, World, joined};

/// Receivers of each kind of flood; each has a connection of its own.
const RECEIVERS: usize = 8;

/// Kilobytes that the router may grow by, for all of them.
const GROWN_KB: usize = 48 << 10;

/// Processor time of one attempt, without optimisation.
const EACH: Duration = Duration::from_millis(200);

/// What each kind sends once, and then for ever.
fn floods() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let head = frame(1, 0, 1, &status("200"));
    let more = [0x10, 1, b'a', 1, b'b'].repeat(200);
    vec![
        ("1xx answers", vec![], frame(1, 4, 1, &status("103"))),
        ("a head", head.clone(), frame(9, 0, 1, &more)),
        ("small continuations", head.clone(), frame(9, 0, 1, &[0x10, 1, b'a', 1, b'b'])),
        ("empty continuations", head, frame(9, 0, 1, b"")),
        ("settings", vec![], frame(4, 0, 0, b"")),
        ("settings that resize the table", vec![], frame(4, 0, 0, &[0, 1, 0, 0, 0x10, 0])),
        ("pings", vec![], frame(6, 0, 0, &[7; 8])),
        ("resets", vec![], frame(3, 0, 1, &[0, 0, 0, 8])),
        ("empty data", frame(1, 4, 1, &status("200")), frame(0, 0, 1, b"")),
        ("pushes", vec![], frame(5, 4, 1, &[0, 0, 0, 2, 0x82])),
    ]
}

fn of_process<T>(process: &Process, file: &str, read: impl Fn(&str) -> Option<T>) -> T {
    let path = format!("/proc/{}/{file}", process.child.id());
    let text = std::fs::read_to_string(path).expect("a process");
    read(&text).expect("a figure")
}

/// Kilobytes of memory, at most so far.
fn peak(process: &Process) -> usize {
    of_process(process, "status", |text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    })
}

/// Processor time so far: ticks of a hundredth of a second (proc(5)).
fn busy(process: &Process) -> Duration {
    of_process(process, "stat", |text| {
        let mut fields = text.rsplit(')').next()?.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_over_http2_cost_each_attempt_little_memory_and_time() {
    let _turn = crate::turn().await;
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = issuer.write_to(folder.path());
    let (mut hooks, mut receivers, mut hosts) = (String::from("hooks:\n"), Vec::new(), Vec::new());
    for (kind, (_, once, forever)) in floods().into_iter().enumerate() {
        let forever = forever.repeat(1 + 16_384 / forever.len());
        for number in 0..RECEIVERS {
            let (once, forever) = (once.clone(), forever.clone());
            let (url, receiver) =
                secured(&issuer, move |stream| rude(stream, once.clone(), forever.clone())).await;
            hosts.push(format!("f{kind}-{number}.example"));
            hooks += &format!("  - {{host: f{kind}-{number}.example, url: '{url}'}}\n");
            receivers.push(receiver);
        }
    }
    let mut world = World::at(Clock::system(), &hooks, &["--ca-file", &authority]).await;
    world.stop().await;
    let mut process = Process::start(&world);
    let (memory, time) = (peak(&process), busy(&process));
    for host in &hosts {
        process.post(joined(&format!("EV_{}", host.replace('.', "-")), host, host)).await;
    }
    let failed =
        || process.lines().into_iter().filter(|line| line["msg"] == "attempt failed").collect::<Vec<_>>();
    let began = Instant::now();
    // Each of them once, and again.
    while failed().len() < 3 * hosts.len() {
        assert!(began.elapsed() < PATIENCE, "{} attempts", failed().len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (grown, busy) = (peak(&process) - memory, busy(&process) - time);
    let attempts = failed().len();
    let each = busy / u32::try_from(attempts).expect("attempts");
    println!("{attempts} attempts: {grown} kB at most, {each:?} each");
    let endless = |line: &&serde_json::Value| line["error"] != "protocol" && line["error"] != "reset";
    assert_eq!(failed().iter().find(endless), None);
    assert!(grown < GROWN_KB, "{grown} kB");
    assert!(each < EACH, "{each:?}");
    process.stop();
}
