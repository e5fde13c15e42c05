//! What a reload of a large hook table costs the events that come meanwhile.
//!
//! `cargo bench --bench reload [-- --hooks 100000 --seconds 12 --pairs 5 --share 100]`
//!
//! A router with many hooks, each with a host of its own, takes signed events at a steady rate. In
//! one run of each pair `hooks.yaml` is replaced after a second by one in which `--share` percent of
//! the hooks have another URL (100: all of them, the hard case); in the other it is left alone.
//! Compared is the longest time any event waited for its 200. Each event is followed to the receiver,
//! which must be its own hook's, of the old table or the new one, and of the new one for whatever is
//! sent after the new one's first event has come. That the router counts one reload is asked before
//! and after a run, not during it: to answer, it walks over all hooks that ever had an event. A run
//! is to be long enough for one of the store's checkpoints (about every 7 s at this rate): they are
//! the longest waits without a reload, and runs with none cannot be compared to runs with one. The
//! router has one core; load and receivers share the other.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use switchhook::Clock;
use switchhook::bench::livekit_token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 16;
const RATE: usize = 500;
const SECRET: &str = "a-benchmark-secret-used-only-on-loopback-001";

/// When the table is replaced, after the run's start.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

struct Plan {
    hooks: usize,
    seconds: usize,
    pairs: usize,
    share: usize,
}

fn plan() -> Plan {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    let number =
        |flag: &str, default: usize| after(flag).map_or(default, |text| text.parse().expect("a number"));
    Plan {
        hooks: number("--hooks", 100_000),
        seconds: number("--seconds", 12),
        pairs: number("--pairs", 5),
        share: number("--share", 100),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    pin(std::process::id(), 1);
    runtime.block_on(compare(&plan()));
}

/// Keeps a process on one core, where the system can.
fn pin(pid: u32, core: u32) {
    let args = ["-a", "-c", "-p", &core.to_string(), &pid.to_string()];
    let _ = Command::new("taskset").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

async fn compare(plan: &Plan) {
    let arrivals = Arc::new(Arrivals::default());
    let mut receivers = JoinSet::new();
    let mut targets = Vec::new();
    for generation in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        targets.push(format!("http://{}", listener.local_addr().expect("an address")));
        receivers.spawn(receive(listener, generation, Arc::clone(&arrivals)));
    }
    let mut tables = Tables { hooks: plan.hooks, share: plan.share, targets, generation: 0 };
    let router = Router::start(&tables).await;
    println!(
        "{} hooks, {} % of them with another URL after a reload; {RATE} events/s over {CONNECTIONS} \
         connections, {} s a run\n",
        plan.hooks, plan.share, plan.seconds
    );
    // What is slow only once (connections, caches) is slow here.
    run(&router, &mut tables, &arrivals, 2, false).await;
    println!(
        "{:>4}  {:>26} {:>26} {:>7}  {:>10} {:>7} {:>7}",
        "pair", "alone longest/p99 ms", "reload longest/p99 ms", "ratio", "in force", "old", "new"
    );
    let mut ratios = Vec::new();
    for pair in 1..=plan.pairs {
        // What wears off or builds up favours neither.
        let first = pair % 2 == 0;
        let one = run(&router, &mut tables, &arrivals, plan.seconds, first).await;
        let other = run(&router, &mut tables, &arrivals, plan.seconds, !first).await;
        let (with, alone) = if first { (one, other) } else { (other, one) };
        let ratio = with.longest / alone.longest;
        let shown = |run: &Run| format!("{:.2} / {:.2}", run.longest, run.p99);
        println!(
            "{pair:>4}  {:>26} {:>26} {ratio:>7.2}  {:>7.2} s {:>8} {:>7}",
            shown(&alone),
            shown(&with),
            with.in_force.expect("a reload").as_secs_f64(),
            with.arrived[0],
            with.arrived[1]
        );
        ratios.push(ratio);
    }
    println!("\nlongest acknowledgement with a reload, × without: {:.2} (median)", median(ratios));
    println!("of all events: 0 unacknowledged, 0 lost, 0 misrouted, 0 doubled");
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The hook table of now, and how the next one looks.
struct Tables {
    hooks: usize,
    share: usize,
    /// The two receivers; changed hooks go from one to the other.
    targets: Vec<String>,
    generation: usize,
}

impl Tables {
    /// The receiver of a hook in a generation.
    fn receiver(&self, hook: usize, generation: usize) -> usize {
        if hook % 100 < self.share { generation } else { 0 }
    }

    fn write(&self, path: &Path, generation: usize) {
        let mut text = String::from("hooks:\n");
        for hook in 0..self.hooks {
            let target = &self.targets[self.receiver(hook, generation)];
            writeln!(text, "  - host: {}\n    url: {target}/{hook:07}", host(hook)).expect("a String grows");
        }
        std::fs::write(path, text).expect("hooks");
    }
}

fn host(hook: usize) -> String {
    format!("calls.tenant{hook:07}.example")
}

/// The router: a process.
struct Router {
    child: Child,
    address: String,
    api: String,
    /// One for all questions: making one reads the system's certificates, which would hold the load up.
    client: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Router {
    async fn start(tables: &Tables) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["logs", "next"] {
            std::fs::create_dir(path(name)).expect("a folder");
        }
        tables.write(&path("hooks.yaml"), tables.generation);
        std::fs::write(path("keys.yaml"), format!("APIbench: {SECRET}\n")).expect("keys");
        let (address, api) = (free_address(), free_address());
        let child = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_switchhook"), "--log", "json", "--allow-http"])
            .args(["--allow-network", "127.0.0.0/8", "--hooks", "hooks.yaml", "--keys-file", "keys.yaml"])
            .args(["--listen", &address, "--api-listen", &api, "--metrics-open"])
            .current_dir(folder.path())
            .stdout(std::fs::File::create(path("logs").join("log")).expect("a log"))
            .spawn();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let router = Self { child: child.expect("switchhook"), address, api, client, folder };
        router.ready().await;
        router
    }

    async fn ready(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Ok(answer) = self.client.get(format!("http://{}/readyz", self.address)).send().await
                && answer.status() == 200
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not get ready");
    }

    /// How many hook tables have come into force since its start.
    async fn reloads(&self) -> u64 {
        let answer = self.client.get(format!("http://{}/metrics", self.api)).send().await.expect("metrics");
        let text = answer.text().await.expect("text");
        let count = |result: &str| {
            let name = format!("switchhook_reloads_total{{result=\"{result}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|count| count.parse().ok()).expect("a count")
        };
        assert_eq!(count("failed"), 0, "a reload failed");
        count("ok")
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

struct Run {
    /// Milliseconds until the 200.
    longest: f64,
    p99: f64,
    /// From the file's replacement until the first event came by the new table.
    in_force: Option<Duration>,
    /// How many events came to the receiver of the old table and of the new one.
    arrived: [usize; 2],
}

/// Offers events at the steady rate for some seconds, with or without a reload in between.
async fn run(
    router: &Router,
    tables: &mut Tables,
    arrivals: &Arc<Arrivals>,
    seconds: usize,
    reload: bool,
) -> Run {
    let (offered, known) = (RATE * seconds, router.reloads().await);
    let first = arrivals.expect(offered);
    let hook_of = |n: usize| (first + n).wrapping_mul(7_368_787) % tables.hooks;
    let requests = Arc::new((0..offered).map(|n| request(first + n, hook_of(n))).collect::<Vec<_>>());
    let next = router.folder.path().join("next").join("hooks.yaml");
    if reload {
        tables.write(&next, 1 - tables.generation);
        // The system writes the file out now, not during the run.
        std::fs::File::open(&next).and_then(|file| file.sync_all()).expect("synced");
    }
    // What the run before left behind is over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now() + Duration::from_millis(50);
    let mut connections = load(&router.address, &requests, start);
    tokio::time::sleep_until((start + RELOAD_AFTER).into()).await;
    let replaced = Instant::now();
    if reload {
        std::fs::rename(&next, router.folder.path().join("hooks.yaml")).expect("renamed");
    }
    let mut acks = Vec::with_capacity(offered);
    while let Some(done) = connections.join_next().await {
        acks.extend(done.expect("a connection"));
    }
    assert_eq!(acks.len(), offered, "every event is acknowledged");
    let reloads = router.reloads().await - known;
    assert_eq!(reloads, u64::from(reload), "it came into force during the run");
    let arrived = arrivals.all(offered).await;
    let old = tables.generation;
    let of_new = |arrival: &&Arrival| arrival.receiver != tables.receiver(arrival.hook, old);
    let in_force = arrived.iter().flatten().filter(of_new).map(|arrival| arrival.at).min();
    if reload {
        tables.generation = 1 - old;
    }
    let mut counts = [0, 0];
    for (n, sent, _) in &acks {
        let hook = hook_of(*n);
        let generations = match in_force {
            None => vec![old],
            Some(since) if *sent > since => vec![tables.generation],
            Some(_) => vec![old, tables.generation],
        };
        assert_eq!(arrived[*n].len(), 1, "event {n} came once: {:?}", arrived[*n]);
        let Arrival { receiver, hook: came_to, .. } = arrived[*n][0];
        let right = generations.iter().any(|generation| tables.receiver(hook, *generation) == receiver);
        assert!(came_to == hook && right, "event {n} for hook {hook} came to {came_to} at {receiver}");
        counts[usize::from(receiver != tables.receiver(hook, old))] += 1;
    }
    let mut times: Vec<f64> = acks.iter().map(|(_, _, took)| took.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    Run {
        longest: times[offered - 1],
        p99: times[offered * 99 / 100],
        in_force: in_force.map(|since| since - replaced),
        arrived: counts,
    }
}

type Acks = Vec<(usize, Instant, Duration)>;

/// Posts each request when it is due; gives which was sent when, and how long its answer took.
fn load(address: &str, requests: &Arc<Vec<Vec<u8>>>, start: Instant) -> JoinSet<Acks> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, next, address) = (Arc::clone(requests), Arc::clone(&next), address.to_owned());
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let (mut acks, mut buffer) = (Vec::new(), vec![0; 4096]);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(n) else { return acks };
                let due = start + Duration::from_secs_f64(n as f64 / RATE as f64);
                tokio::time::sleep_until(due.into()).await;
                let sent = Instant::now();
                stream.write_all(request).await.expect("sent");
                let read = stream.read(&mut buffer).await.expect("an answer");
                let answer = String::from_utf8_lossy(&buffer[..read]);
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                acks.push((n, sent, sent.elapsed()));
            }
        });
    }
    connections
}

/// A whole signed request: a recorded event with an id, a room and a domain of its own.
fn request(id: usize, hook: usize) -> Vec<u8> {
    let recorded = include_str!("../tests/data/livekit/inbound-x-headers.jsonl");
    let line = recorded.lines().nth(1).expect("a second line");
    let post: serde_json::Value = serde_json::from_str(line).expect("a recorded POST");
    let mut event: serde_json::Value =
        serde_json::from_str(post["body"].as_str().expect("a body")).expect("an event");
    event["id"] = format!("EV_{id:012}").into();
    event["room"]["sid"] = format!("RM_{id}").into();
    event["participant"]["attributes"]["sip.h.x-to-ip"] = host(hook).into();
    let body = event.to_string();
    let token = livekit_token("APIbench", SECRET, body.as_bytes(), Clock::system().unix());
    format!(
        "POST /webhook HTTP/1.1\r\nhost: switchhook\r\nauthorization: {token}\r\n\
         content-type: application/webhook+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Where an event came out.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    receiver: usize,
    /// By the URL's path.
    hook: usize,
    at: Instant,
}

/// The arrivals of a run, by event.
#[derive(Default)]
struct Arrivals {
    state: Mutex<Expected>,
}

#[derive(Default)]
struct Expected {
    first: usize,
    came: Vec<Vec<Arrival>>,
}

impl Arrivals {
    /// Gives the first of `count` new event numbers.
    fn expect(&self, count: usize) -> usize {
        let mut state = self.state.lock().expect("arrivals");
        state.first += state.came.len();
        state.came = vec![Vec::new(); count];
        state.first
    }

    fn arrive(&self, id: usize, arrival: Arrival) {
        let mut state = self.state.lock().expect("arrivals");
        let n = id.checked_sub(state.first).expect("no event of an earlier run");
        state.came[n].push(arrival);
    }

    /// Waits until `count` events have come, and a moment for what comes twice.
    async fn all(&self, count: usize) -> Vec<Vec<Arrival>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let came =
            || self.state.lock().expect("arrivals").came.iter().filter(|came| !came.is_empty()).count();
        while came() < count && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.state.lock().expect("arrivals").came.clone()
    }
}

/// A receiver that notes which event came to which path, and answers 200.
async fn receive(listener: TcpListener, receiver: usize, arrivals: Arc<Arrivals>) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let arrivals = Arc::clone(&arrivals);
        connections.spawn(async move {
            let mut buffer = Vec::with_capacity(16 << 10);
            loop {
                while let Some((length, hook, id)) = whole_request(&buffer) {
                    buffer.drain(..length);
                    arrivals.arrive(id, Arrival { receiver, hook, at: Instant::now() });
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                        return;
                    }
                }
                match stream.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        });
    }
}

/// The length of the first request in the buffer, if it is whole, its path's and its event's number.
fn whole_request(buffer: &[u8]) -> Option<(usize, usize, usize)> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).expect("ASCII").to_ascii_lowercase();
    let path = text.strip_prefix("post /").and_then(|text| text.get(..7)).expect("a path");
    let length = text.split("content-length: ").nth(1)?.split('\r').next()?.parse::<usize>().ok()?;
    let body = buffer.get(head..head + length)?;
    let mark = b"\"id\":\"EV_";
    let at = body.windows(mark.len()).position(|window| window == mark).expect("an id") + mark.len();
    let id = std::str::from_utf8(&body[at..at + 12]).expect("digits").parse().expect("digits");
    Some((head + length, path.parse().expect("digits"), id))
}
