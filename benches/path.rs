//! The whole path through real sockets, beside a bare forwarder at the same rates in the same run.
//!
//! `cargo bench --bench path [-- --seconds 5 --rounds 3 --rates 200,2000,7500]`
//!
//! Switchhook: verified, durable (SQLite, one fsync per group), signed, logged, measured. The bare
//! forwarder: an axum handler that reads the body and posts it on with the same HTTP client; no
//! check, no store. Both are processes of their own on one core; load and receiver share the other.
//! CPU time is the scheduler's, per offered event. The third system is Switchhook again, with a mixed
//! LiveKit in front: 95 % of the rooms are without SIP.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, lives in real time and gives up"
)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use switchhook::Clock;
use switchhook::bench::livekit_token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;

/// Of a mixed LiveKit's rooms, one in so many sees SIP; the others' events are held, then unrouted.
const ONE_IN: usize = 20;
const SECRET: &str = "a-benchmark-secret-used-only-on-loopback-001";

struct Plan {
    rates: Vec<u64>,
    seconds: u64,
    rounds: usize,
}

fn plan() -> Plan {
    let args: Vec<String> = std::env::args().collect();
    let after = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    let number =
        |flag: &str, default: u64| after(flag).map_or(default, |text| text.parse().expect("a number"));
    let rates = after("--rates").map_or("200,2000,7500", String::as_str);
    Plan {
        rates: rates.split(',').map(|rate| rate.parse().expect("a rate")).collect(),
        seconds: number("--seconds", 5),
        rounds: usize::try_from(number("--rounds", 3)).expect("few rounds"),
    }
}

fn main() {
    let role = std::env::var("SWITCHHOOK_BENCH_ROLE").unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Some(target) = role.strip_prefix("bare:") {
        return runtime.block_on(bare(target.to_owned()));
    }
    pin(std::process::id(), 1);
    runtime.block_on(compare(&plan()));
}

/// Keeps a process on one core, where the system can.
fn pin(pid: u32, core: u32) {
    let args = ["-a", "-c", "-p", &core.to_string(), &pid.to_string()];
    let _ = Command::new("taskset").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

async fn compare(plan: &Plan) {
    let sink = Arc::new(Sink::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(receive(listener, Arc::clone(&sink)));
    println!(
        "body 1.5 kB, {CONNECTIONS} connections, {} s a run, median of {} alternated runs\n",
        plan.seconds, plan.rounds
    );
    println!(
        "{:>6}  {:<12} {:>14} {:>9} {:>18} {:>22}",
        "rate/s", "system", "CPU µs/event", "× bare", "ack p50/p99 ms", "to receiver p50/p99 ms"
    );
    for &rate in &plan.rates {
        let mut runs: [Vec<Run>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..plan.rounds {
            for (which, runs) in runs.iter_mut().enumerate() {
                let system =
                    if which == 0 { System::bare(&target) } else { System::switchhook(&target).await };
                runs.push(run(&system, &sink, rate, plan.seconds, which == 2).await);
            }
        }
        for (name, mine) in ["bare", "switchhook", "… 95 % web"].into_iter().zip(&runs) {
            // The machine is not as quick in one round as in the next: compared within each.
            let factor = median(mine.iter().zip(&runs[0]), |(run, bare)| run.cpu_us / bare.cpu_us).1;
            let (run, _) = median(mine, |run| run.cpu_us);
            let ack = format!("{:.2} / {:.2}", run.ack.0, run.ack.1);
            let to_receiver = format!("{:.2} / {:.2}", run.delivery.0, run.delivery.1);
            println!("{rate:>6}  {name:<12} {:>14.1} {factor:>9.2} {ack:>18} {to_receiver:>22}", run.cpu_us);
            assert!(mine.iter().all(|run| run.delivered == run.due), "{name} lost events");
        }
    }
    idle(&target).await;
}

/// The one in the middle, and its measure.
fn median<T>(of: impl IntoIterator<Item = T>, measure: impl Fn(&T) -> f64) -> (T, f64) {
    let mut all: Vec<_> = of.into_iter().map(|one| (measure(&one), one)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (measured, one) = all.swap_remove(all.len() / 2);
    (one, measured)
}

/// A system under test: a process, and where to post.
struct System {
    child: Child,
    address: String,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl System {
    fn bare(target: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .env("SWITCHHOOK_BENCH_ROLE", format!("bare:{target}"))
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("the bare forwarder");
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("output")));
        let address = lines.next().expect("a line").expect("text");
        Self { child, address, _folder: None }
    }

    async fn switchhook(target: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("hooks.yaml"), format!("hooks:\n  - host: a.example\n    url: {target}\n"))
            .expect("hooks");
        std::fs::write(path("keys.yaml"), format!("APIbench: {SECRET}\n")).expect("keys");
        std::fs::create_dir(path("logs")).expect("a folder");
        let port = free_port();
        let child = Command::new("taskset")
            .args([
                "-c",
                "0",
                env!("CARGO_BIN_EXE_switchhook"),
                "--log",
                "json",
                "--allow-http",
                "--hold",
                "1s",
            ])
            .args(["--allow-network", "127.0.0.0/8", "--hooks", "hooks.yaml", "--keys-file", "keys.yaml"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--api-listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stdout(std::fs::File::create(path("logs").join("log")).expect("a log"))
            .spawn();
        let system = Self {
            child: child.expect("switchhook"),
            address: format!("127.0.0.1:{port}"),
            _folder: Some(folder),
        };
        system.ready().await;
        system
    }

    /// How long it took until it answered `/readyz`.
    async fn ready(&self) -> Duration {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if let Ok(answer) = reqwest::get(format!("http://{}/readyz", self.address)).await
                && answer.status() == 200
            {
                return began.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it does not get ready");
    }

    /// CPU time of all its threads so far, in nanoseconds.
    fn cpu_ns(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let of_task = |entry: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(entry.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        tasks.filter_map(of_task).sum()
    }

    fn rss_mb(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kb: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        kb / 1024.0
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn idle(target: &str) {
    let began = Instant::now();
    let system = System::switchhook(target).await;
    let ready = began.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!(
        "\nidle: ready {:.0} ms after its start, {:.1} MB RSS",
        ready.as_secs_f64() * 1e3,
        system.rss_mb()
    );
}

struct Run {
    due: usize,
    delivered: usize,
    /// Per offered event.
    cpu_us: f64,
    ack: (f64, f64),
    delivery: (f64, f64),
}

/// Connections, caches and memory warm up with so many events that are not counted.
const WARM_UP: usize = 400;

/// Offers `rate` events a second for some seconds; `mixed`: most of the rooms are without SIP.
async fn run(system: &System, sink: &Arc<Sink>, rate: u64, seconds: u64, mixed: bool) -> Run {
    offer(system, sink, 2000, WARM_UP, mixed).await;
    let before = system.cpu_ns();
    let offered = usize::try_from(rate * seconds).expect("a count");
    let Offered { acks, arrivals, due } = offer(system, sink, rate, offered, mixed).await;
    let cpu = system.cpu_ns() - before;
    let delivery = acks.iter().filter_map(|(n, sent, _)| Some(arrivals[*n]?.duration_since(*sent)));
    Run {
        due,
        delivered: arrivals.iter().filter(|at| at.is_some()).count(),
        cpu_us: cpu as f64 / 1000.0 / offered as f64,
        delivery: percentiles(delivery.collect()),
        ack: percentiles(acks.iter().map(|(_, _, took)| *took).collect()),
    }
}

/// What came of some events.
struct Offered {
    /// Which, when it was sent, how long its acknowledgement took.
    acks: Vec<(usize, Instant, Duration)>,
    /// When each came to the receiver.
    arrivals: Vec<Option<Instant>>,
    /// How many are to come there.
    due: usize,
}

async fn offer(system: &System, sink: &Arc<Sink>, rate: u64, offered: usize, mixed: bool) -> Offered {
    let first = sink.next.fetch_add(offered, Ordering::SeqCst);
    // Ten events a room, as an answered call has.
    let rooms = offered.div_ceil(10);
    let is_web = |room: usize| mixed && !room.is_multiple_of(ONE_IN);
    let due = (0..offered).filter(|n| !is_web(n % rooms)).count();
    let requests: Arc<Vec<Vec<u8>>> =
        Arc::new((0..offered).map(|n| request(first + n, n % rooms, is_web(n % rooms))).collect());
    sink.expect(first, offered);
    let start = Instant::now() + Duration::from_millis(50);
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (requests, next, address) = (Arc::clone(&requests), Arc::clone(&next), system.address.clone());
        connections.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let (mut acks, mut buffer) = (Vec::new(), vec![0; 4096]);
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(n) else { return acks };
                let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                let sent = Instant::now();
                stream.write_all(request).await.expect("sent");
                let read = stream.read(&mut buffer).await.expect("an answer");
                assert!(
                    buffer[..read].starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&buffer[..read])
                );
                acks.push((n, sent, sent.elapsed()));
            }
        });
    }
    let mut acks = Vec::with_capacity(offered);
    while let Some(done) = connections.join_next().await {
        acks.extend(done.expect("a connection"));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while sink.count.load(Ordering::SeqCst) < due && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What is written after the last delivery belongs to it.
    tokio::time::sleep(Duration::from_millis(150)).await;
    Offered { acks, arrivals: sink.arrivals(), due }
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    (at(50), at(99))
}

/// A whole signed request: a recorded event with an id of its own; `web`: of a room without SIP.
fn request(id: usize, room: usize, web: bool) -> Vec<u8> {
    let recorded = include_str!("../tests/data/livekit/inbound-x-headers.jsonl");
    let line = recorded.lines().nth(1).expect("a second line");
    let post: serde_json::Value = serde_json::from_str(line).expect("a recorded POST");
    let mut event: serde_json::Value =
        serde_json::from_str(post["body"].as_str().expect("a body")).expect("an event");
    event["id"] = format!("EV_{id:012}").into();
    event["room"]["sid"] = format!("RM_{}_{room}", id / 1_000_000).into();
    event["participant"]["attributes"]["sip.h.x-to-ip"] = "a.example".into();
    if web {
        event["participant"]["kind"] = "STANDARD".into();
    }
    let body = event.to_string();
    let token = livekit_token("APIbench", SECRET, body.as_bytes(), Clock::system().unix());
    format!(
        "POST /webhook HTTP/1.1\r\nhost: switchhook\r\nauthorization: {token}\r\n\
         content-type: application/webhook+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Where deliveries end: when each came.
#[derive(Default)]
struct Sink {
    next: AtomicUsize,
    first: AtomicUsize,
    count: AtomicUsize,
    began: std::sync::OnceLock<Instant>,
    /// Nanoseconds since `began`; 0: not yet.
    arrived: std::sync::RwLock<Vec<AtomicU64>>,
}

impl Sink {
    fn expect(&self, first: usize, count: usize) {
        self.began.get_or_init(Instant::now);
        self.first.store(first, Ordering::SeqCst);
        self.count.store(0, Ordering::SeqCst);
        *self.arrived.write().expect("arrivals") = (0..count).map(|_| AtomicU64::new(0)).collect();
    }

    fn arrive(&self, id: usize) {
        let began = self.began.get_or_init(Instant::now);
        let arrived = self.arrived.read().expect("arrivals");
        let place = id.checked_sub(self.first.load(Ordering::SeqCst)).and_then(|n| arrived.get(n));
        let Some(place) = place else { return };
        let at = u64::try_from(began.elapsed().as_nanos()).expect("soon");
        if place.swap(at, Ordering::SeqCst) == 0 {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn arrivals(&self) -> Vec<Option<Instant>> {
        let began = *self.began.get_or_init(Instant::now);
        let arrived = self.arrived.read().expect("arrivals");
        let at = |nanos: u64| (nanos > 0).then(|| began + Duration::from_nanos(nanos));
        arrived.iter().map(|place| at(place.load(Ordering::SeqCst))).collect()
    }
}

/// A receiver that does as little as one can: finds the event's id and answers 200.
async fn receive(listener: TcpListener, sink: Arc<Sink>) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let sink = Arc::clone(&sink);
        connections.spawn(async move {
            let mut buffer = Vec::with_capacity(16 << 10);
            loop {
                while let Some((length, id)) = whole_request(&buffer) {
                    buffer.drain(..length);
                    sink.arrive(id);
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

/// The length of the first request in the buffer, if it is whole, and its event's number.
fn whole_request(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).expect("ASCII").to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1)?.split('\r').next()?.parse::<usize>().ok()?;
    let body = buffer.get(head..head + length)?;
    let mark = b"\"id\":\"EV_";
    let at = body.windows(mark.len()).position(|window| window == mark).expect("an id") + mark.len();
    let id = std::str::from_utf8(&body[at..at + 12]).expect("digits").parse().expect("digits");
    Some((head + length, id))
}

/// The bare forwarder: the body in, the body out, nothing else.
async fn bare(target: String) {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.pool_max_idle_per_host(64).build().expect("a client");
    let handler = |State((client, target)): State<(reqwest::Client, String)>, body: Bytes| async move {
        tokio::spawn(async move {
            let sent = client
                .post(target)
                .header("content-type", "application/webhook+json")
                .body(body)
                .send()
                .await;
            let _ = sent.expect("sent").bytes().await;
        });
        StatusCode::OK
    };
    let app =
        axum::Router::new().route("/webhook", axum::routing::post(handler)).with_state((client, target));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, app).await.expect("serving");
}
