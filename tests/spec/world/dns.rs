//! A nameserver on loopback, by UDP and TCP (RFC 1035 §4), that answers as told.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Larger answers come by TCP: what resolvers commonly take by UDP.
const UDP_BYTES: usize = 1232;

/// A nameserver.
pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Zone>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Zone {
    names: Mutex<HashMap<String, Name>>,
    /// Whether what is held back is answered.
    released: watch::Sender<bool>,
}

#[derive(Clone, Default)]
struct Name {
    /// What it resolves to, look-up by look-up; the last one stays.
    steps: Vec<Vec<IpAddr>>,
    ttl: u32,
    held: bool,
    /// So many of the next questions get lost.
    lost: usize,
    /// How often each type was asked for.
    asked: HashMap<u16, usize>,
}

impl Dns {
    /// A nameserver that knows no name.
    pub async fn open() -> Self {
        let (tcp, udp) = sockets().await;
        let (address, udp) = (tcp.local_addr().expect("an address"), Arc::new(udp));
        let zone = Arc::new(Zone::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(by_udp(udp, Arc::clone(&zone)));
        tasks.spawn(by_tcp(tcp, Arc::clone(&zone)));
        Self { address, zone, _tasks: tasks }
    }

    /// The argument that names it.
    pub fn argument(&self) -> String {
        format!("--nameserver={}", self.address)
    }

    /// What a name resolves to at its first look-up, at the second, and so on. To be asked each time.
    pub fn set(&self, name: &str, steps: &[&str]) {
        self.keep(name, 0, steps);
    }

    /// The same, with a time to live in seconds.
    pub fn keep(&self, name: &str, ttl: u32, steps: &[&str]) {
        let addresses = |step: &&str| step.split_whitespace().map(|text| text.parse().expect(text)).collect();
        let steps = steps.iter().map(addresses).collect();
        self.change(name, |known| (known.steps, known.ttl) = (steps, ttl));
    }

    /// Holds the answers to questions for this name back until [`Dns::release`].
    pub fn hold(&self, name: &str) {
        self.change(name, |known| known.held = true);
    }

    /// Loses the next questions for this name: they get no answer at all.
    pub fn lose(&self, name: &str, questions: usize) {
        self.change(name, |known| known.lost = questions);
    }

    pub fn release(&self) {
        self.zone.released.send_replace(true);
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub fn asked(&self, name: &str) -> usize {
        let names = self.zone.names.lock().expect("names");
        names.get(name).and_then(|known| known.asked.get(&A)).copied().unwrap_or_default()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Name)) {
        change(self.zone.names.lock().expect("names").entry(name.to_owned()).or_default());
    }
}

/// Sockets at a port that is free for both: some other socket may have that of the first one by UDP.
async fn sockets() -> (TcpListener, UdpSocket) {
    // Held meanwhile, so that the system gives another port.
    let mut passed_over = Vec::new();
    while passed_over.len() < 100 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        match UdpSocket::bind(tcp.local_addr().expect("an address")).await {
            Ok(udp) => return (tcp, udp),
            Err(error) if error.kind() == ErrorKind::AddrInUse => passed_over.push(tcp),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("none of a hundred ports is free by UDP, too")
}

async fn by_udp(socket: Arc<UdpSocket>, zone: Arc<Zone>) {
    let mut answering = JoinSet::new();
    let mut question = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let (question, zone, socket) = (question[..length].to_vec(), Arc::clone(&zone), Arc::clone(&socket));
        answering.spawn(async move {
            let mut answer = zone.answer(&question).await;
            if answer.len() > UDP_BYTES {
                answer = head(&question, 0x8380, 0);
            }
            let _ = socket.send_to(&answer, from).await;
        });
    }
}

async fn by_tcp(listener: TcpListener, zone: Arc<Zone>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&zone)));
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Zone>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let answer = zone.answer(&question).await;
        let length = u16::try_from(answer.len()).expect("a message");
        let message = [&length.to_be_bytes()[..], &answer].concat();
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
}

impl Zone {
    async fn answer(&self, question: &[u8]) -> Vec<u8> {
        let (name, kind) = asked_for(question);
        let Some((addresses, ttl, held)) = self.step(&name, kind) else {
            // NXDOMAIN.
            return head(question, 0x8183, 0);
        };
        if self.loses(&name) {
            std::future::pending::<()>().await;
        }
        if held {
            let _ = self.released.subscribe().wait_for(|released| *released).await;
        }
        let of_kind = addresses.iter().filter(|address| address.is_ipv4() == (kind == A));
        let records: Vec<_> = of_kind.map(|address| record(kind, ttl, *address)).collect();
        let count = u16::try_from(records.len()).expect("a message");
        [head(question, 0x8180, count), records.concat()].concat()
    }

    /// Whether a question for this name gets lost.
    fn loses(&self, name: &str) -> bool {
        let mut names = self.names.lock().expect("names");
        let lost = names.get_mut(name).map(|known| &mut known.lost).filter(|lost| **lost > 0);
        lost.map(|lost| *lost -= 1).is_some()
    }

    /// What a name resolves to now, and whether the answer is held back; counts the question.
    fn step(&self, name: &str, kind: u16) -> Option<(Vec<IpAddr>, u32, bool)> {
        let mut names = self.names.lock().expect("names");
        let known = names.get_mut(name)?;
        let asked = known.asked.entry(kind).or_default();
        let step = known.steps.get(*asked).or(known.steps.last()).cloned();
        *asked += 1;
        Some((step.unwrap_or_default(), known.ttl, known.held))
    }
}

/// The end of the question, which follows a head of twelve bytes.
fn end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// The name and the type that are asked for.
fn asked_for(message: &[u8]) -> (String, u16) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_lowercase());
        at += 1 + length;
    }
    (labels.join("."), u16::from_be_bytes([message[at + 1], message[at + 2]]))
}

/// An answer's head and its question.
fn head(question: &[u8], flags: u16, answers: u16) -> Vec<u8> {
    let counts = [1, answers, 0, 0].map(u16::to_be_bytes).concat();
    [&question[..2], &flags.to_be_bytes(), &counts, &question[12..end(question)]].concat()
}

fn record(kind: u16, ttl: u32, address: IpAddr) -> Vec<u8> {
    let data = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    debug_assert!(kind == A || kind == AAAA);
    let length = u16::try_from(data.len()).expect("an address");
    // The name is that of the question: a pointer to byte 12.
    [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), &data].concat()
}
