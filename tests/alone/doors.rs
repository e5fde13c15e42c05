//! Thousands of connections that want nothing good, and traffic that goes on.

mod forged;
mod handshakes;
mod heads;
mod slow_bodies;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::world::{Client, PATIENCE, Process, Reply, Tenant, World, joined, livekit_token};

/// Half of a request's head.
const HALF: &str = "POST /webhook HTTP/1.1\r\nhost: x\r\nauthoriz";

/// Lets this process have as many connections as the system permits, and gives their number.
fn raise_limit() -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).expect("the soft limit is raised");
    limits.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A connection from 127.0.0.0/8: `from` is what follows 127.0.
async fn connect(address: &str, from: u16) -> TcpStream {
    let [high, low] = from.to_be_bytes();
    let socket = TcpSocket::new_v4().expect("a socket");
    // None of them is remembered by the system once it is closed: their ports are used again.
    socket.set_zero_linger().expect("closed at once");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0))).expect("a loopback address");
    let connected = socket.connect(address.parse().expect("an address"));
    tokio::time::timeout(PATIENCE, connected).await.expect("in time").expect("a connection")
}

/// `count` connections that say this and no more. `from`: their addresses, in turn.
async fn flood(address: &str, count: usize, from: std::ops::Range<u16>, say: &str) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for (_, from) in (0..count).zip(from.cycle()) {
        let mut stream = connect(address, from).await;
        // It may be closed already for one that came later.
        let _ = stream.write_all(say.as_bytes()).await;
        open.push(stream);
    }
    open
}

/// What is answered.
async fn asks(stream: &mut TcpStream, request: &str) -> String {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time");
    String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned()
}

/// A post of LiveKit's, of `length` bytes by its head.
fn post(body: &str, length: usize) -> String {
    let token = livekit_token(body, Clock::system().unix().seconds());
    format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A router with its traffic.
struct Traffic<'a> {
    process: &'a Process,
    tenant: &'a Tenant,
    /// A connection LiveKit keeps.
    kept: TcpStream,
    posted: usize,
}

impl<'a> Traffic<'a> {
    async fn begin(process: &'a Process, tenant: &'a Tenant) -> Self {
        let kept = connect(&process.address, 1).await;
        let mut traffic = Self { process, tenant, kept, posted: 0 };
        traffic.goes_on("before").await;
        traffic
    }

    /// Events are acknowledged and delivered, by the connection LiveKit keeps and by new ones, and health is answered.
    async fn goes_on(&mut self, when: &str) {
        for n in 0..20 {
            let body = joined(&format!("EV_{when}{n}"), &format!("{when}{n}"), "a.example");
            let request = post(&body, body.len());
            let answer = match n % 2 {
                0 => asks(&mut self.kept, &request).await,
                _ => asks(&mut connect(&self.process.address, 1).await, &request).await,
            };
            assert!(answer.starts_with("HTTP/1.1 200"), "{when}, {n}: {answer}");
            self.posted += 1;
        }
        let probe = "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        for address in [&self.process.address, &self.process.api_address] {
            let answer = asks(&mut connect(address, 1).await, probe).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ready\""), "{when}: {answer}");
        }
        self.tenant.wait_for(self.posted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_while_thousands_of_connections_come_slowly_or_idle() {
    let _turn = crate::turn().await;
    let most = raise_limit().saturating_sub(1000);
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let process = Process::start(&world);
    let mut traffic = Traffic::begin(&process, &tenant).await;

    let slow = flood(&process.address, most.min(5000), 1..2, HALF).await;
    traffic.goes_on("slow-heads").await;
    let scraped = Client::of_process(&world, &process).get("/metrics").await;
    let crowded = "switchhook_connections_refused_total{listener=\"events\",reason=\"crowded\"}";
    assert!(scraped.body.as_str().expect("text").contains(crowded), "{}", scraped.body);
    drop(slow);

    let idle = flood(&process.address, most.min(10_000), 256..8192, "").await;
    traffic.goes_on("idle").await;
    drop(idle);
    let idle = flood(&process.address, most.min(10_000), 2..3, "").await;
    traffic.goes_on("idle-from-one").await;
    drop(idle);

    // Each with a valid token, 1 MiB announced, and a little of it.
    let bodies = flood(&process.address, 128, 3..4, &post("{", 1 << 20)).await;
    traffic.goes_on("slow-bodies").await;
    drop(bodies);
}

/// Deliveries that hang, two of each hook: almost as many as may be slow at once with so few descriptors.
const HANGING: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_on_with_1024_descriptors_and_more_idle_connections() {
    let _turn = crate::turn().await;
    raise_limit();
    let (tenant, hangs) = (Tenant::open().await, Tenant::answering(vec![Reply::Hang; HANGING]).await);
    let hosts: Vec<String> = (0..HANGING / 2).map(|n| format!("h{n}.example")).collect();
    let hooks = hosts.iter().map(|host| (host.as_str(), &hangs)).chain([("a.example", &tenant)]);
    let mut world = World::with(&hooks.collect::<Vec<_>>()).await;
    world.stop().await;
    let limited = ["-c", "ulimit -n 1024 && exec \"$0\" \"$@\"", Process::BINARY];
    let process = Process::spawn(&world, Command::new("sh").args(limited));
    let lowered = process.line(|line| line["connections"] == 4096).await;
    assert_eq!((&lowered["level"], &lowered["events"]), (&"warn".into(), &240.into()), "{lowered}");

    let mut traffic = Traffic::begin(&process, &tenant).await;
    let events = flood(&process.address, 1100, 1..2, "").await;
    let api = flood(&process.api_address, 1100, 1..2, HALF).await;
    traffic.goes_on("idle").await;
    for (n, host) in (0..HANGING).zip(hosts.iter().cycle()) {
        process.post(joined(&format!("EV_hangs{n}"), &format!("hangs{n}"), host)).await;
    }
    hangs.wait_for(HANGING).await;
    traffic.goes_on("hanging").await;

    // Nothing was refused for want of a descriptor.
    let lines = process.lines();
    let wanting =
        lines.iter().find(|line| line["level"] == "error" || line.to_string().contains("open files"));
    assert_eq!(wanting, Some(&lowered));
    assert_eq!((hangs.count(), tenant.count()), (HANGING, traffic.posted));
    drop((events, api));
}
