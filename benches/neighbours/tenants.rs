//! Tenants of a run: each has an address of its own, and an illness, if any.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::deliveries::Deliveries;
use super::nameserver::{Nameserver, named};
use crate::shared::event::host;
use crate::shared::receiver::whole_request;

/// What is wrong with a tenant's receiver.
#[derive(Clone, Copy, PartialEq)]
pub enum Illness {
    /// Accepts and never answers.
    Hangs,
    Refuses,
    /// Answers 500.
    Fails,
    /// Answers 500 to this event alone.
    FailsOn(usize),
    /// Answers a byte a second.
    Drips,
    /// The nameserver never answers for its name.
    Nameless,
    /// Answers 200 just within the timeout.
    Slow,
    /// Answers at once for some seconds, then hangs for as long.
    Alternates,
}

const SLOW: Duration = Duration::from_millis(9500);

/// How long each of [`Illness::Alternates`]' moods lasts.
const MOOD: Duration = Duration::from_secs(3);

/// The tenants of a run.
pub struct Tenants {
    illnesses: Vec<Option<Illness>>,
    ports: Vec<u16>,
    /// The ports of those that refuse.
    refusing: Vec<(usize, TcpSocket)>,
    nameserver: Option<Nameserver>,
    ward: Ward,
    serving: JoinSet<()>,
}

/// What all connections to tenants share.
#[derive(Clone)]
struct Ward {
    /// Whether illnesses show.
    is_ill: Arc<AtomicBool>,
    began: Instant,
    deliveries: Arc<Deliveries>,
}

impl Tenants {
    /// Opens them; `is_ill`: whether illnesses show from the start. `with_names`: they are reached by names.
    pub async fn open(illnesses: Vec<Option<Illness>>, is_ill: bool, with_names: bool) -> Self {
        let deliveries = Arc::new(Deliveries::default());
        let ward = Ward { is_ill: Arc::new(AtomicBool::new(is_ill)), began: Instant::now(), deliveries };
        let nameserver =
            if with_names { Some(Nameserver::open(Arc::clone(&ward.is_ill)).await) } else { None };
        let mut tenants = Self {
            illnesses,
            ports: Vec::new(),
            refusing: Vec::new(),
            nameserver,
            ward,
            serving: JoinSet::new(),
        };
        for tenant in 0..tenants.illnesses.len() {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            tenants.ports.push(socket.local_addr().expect("an address").port());
            // Bound and not listened at, the port refuses and stays ours.
            if is_ill && tenants.illnesses[tenant] == Some(Illness::Refuses) {
                tenants.refusing.push((tenant, socket));
            } else {
                tenants.listen(tenant, socket);
            }
        }
        tenants
    }

    fn listen(&mut self, tenant: usize, socket: TcpSocket) {
        let listener = socket.listen(1024).expect("a listener");
        self.serving.spawn(serve(listener, self.illnesses[tenant], self.ward.clone()));
    }

    /// From now on illnesses show.
    pub fn fall_ill(&self) {
        self.ward.is_ill.store(true, Ordering::Relaxed);
    }

    /// From now on all are well, those too that refused.
    pub fn recover(&mut self) {
        self.ward.is_ill.store(false, Ordering::Relaxed);
        for (tenant, socket) in std::mem::take(&mut self.refusing) {
            self.listen(tenant, socket);
        }
    }

    /// What has come to those who answered 200.
    pub fn deliveries(&self) -> &Arc<Deliveries> {
        &self.ward.deliveries
    }

    pub fn is_healthy(&self, tenant: usize) -> bool {
        self.illnesses[tenant].is_none()
    }

    /// A hooks file with a host for each; `more` gives a hook's other keys, whole lines.
    pub fn hooks(&self, more: impl Fn(usize) -> String) -> String {
        let entry = |tenant: usize| {
            let (host, url, more) = (host(tenant), self.url(tenant), more(tenant));
            format!("  - host: {host}\n    url: {url}\n{more}")
        };
        let entries: String = (0..self.ports.len()).map(entry).collect();
        format!("hooks:\n{entries}")
    }

    fn url(&self, tenant: usize) -> String {
        let is_nameless = self.illnesses[tenant] == Some(Illness::Nameless);
        let host =
            if self.nameserver.is_some() { named(tenant, is_nameless) } else { "127.0.0.1".to_owned() };
        format!("http://{host}:{}/hook", self.ports[tenant])
    }

    /// The flags a router needs to find them.
    pub fn flags(&self) -> Vec<String> {
        let address = self.nameserver.as_ref().map(|nameserver| nameserver.address.clone());
        address.map_or_else(Vec::new, |address| vec!["--nameserver".to_owned(), address])
    }
}

async fn serve(listener: TcpListener, illness: Option<Illness>, ward: Ward) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(converse(stream, illness, ward.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, illness: Option<Illness>, ward: Ward) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        while let Some((length, received)) = whole_request(&buffer) {
            buffer.drain(..length);
            let shown = illness.filter(|_| ward.is_ill.load(Ordering::Relaxed));
            let status = match shown {
                Some(Illness::Hangs) => return gone(stream).await,
                Some(Illness::Alternates) if ward.hangs_now() => return gone(stream).await,
                Some(Illness::Drips) => return drip(stream).await,
                Some(Illness::Fails) => "500 Internal Server Error",
                Some(Illness::FailsOn(event)) if event == received.event => "500 Internal Server Error",
                Some(Illness::Slow) => {
                    tokio::time::sleep(SLOW).await;
                    "200 OK"
                }
                _ => "200 OK",
            };
            if status == "200 OK" {
                ward.deliveries.note(received.event);
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

impl Ward {
    fn hangs_now(&self) -> bool {
        (self.began.elapsed().as_millis() / MOOD.as_millis()) % 2 == 1
    }
}

/// Waits until the other side has given up.
async fn gone(mut stream: TcpStream) -> std::io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// The head of an answer, a byte a second; ends when the other side has given up.
async fn drip(mut stream: TcpStream) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\nx-padding: {}\r\n\r\n", "x".repeat(100));
    for byte in answer.bytes() {
        stream.write_all(&[byte]).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
