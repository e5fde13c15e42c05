//! Receivers that answer without reading what is posted to them: what the router holds for them is let go of.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use serde_json::Value;
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::world::{Issuer, PATIENCE, Process, World, joined};

const ATTEMPTS: usize = 200;

/// Bytes of each body: many times what the socket of a receiver that does not read takes.
const BODY: usize = 1000 << 10;

/// What the memory of a router may have grown by: a fourth of the bodies.
const GROWN_KB: usize = ATTEMPTS * BODY / 4096;

/// A receiver whose sockets take little, and whose connections are treated so.
async fn narrow<F, R>(treat: F) -> (SocketAddr, JoinSet<()>)
where
    F: Fn(TcpStream) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let listener = socket.listen(1024).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(treat.clone()(stream));
        }
    });
    (address, tasks)
}

/// Reads the beginning of a request, answers 200, and keeps the connection open.
async fn answers_at_once(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    std::future::pending::<()>().await;
}

/// The same over HTTP/2, where no body may be sent at all.
async fn answers_with_closed_windows(stream: TcpStream, acceptor: tokio_rustls::TlsAcceptor) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let handshake = h2::server::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream);
    let Ok(mut connection) = handshake.await else { return };
    let mut bodies = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // To drop it would reset its stream.
        bodies.push(request.into_body());
        let _ = respond.send_response(hyper::Response::new(()), true);
    }
}

/// So many files the process has open, and kilobytes of memory.
fn holds(process: &Process) -> (usize, usize) {
    let folder = format!("/proc/{}", process.child.id());
    let files = std::fs::read_dir(format!("{folder}/fd")).expect("descriptors").count();
    let status = std::fs::read_to_string(format!("{folder}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kb = line.trim().trim_end_matches(" kB").parse().expect("a number");
    (files, kb)
}

/// An event of `BODY` bytes.
fn large(id: &str, host: &str) -> String {
    let mut event: Value = serde_json::from_str(&joined(id, id, host)).expect("JSON");
    event["padding"] = "x".repeat(BODY).into();
    event.to_string()
}

async fn is_let_go_of(url: &str, extra: &[&str]) {
    let hooks = format!("hooks:\n  - {{host: a.example, url: '{url}'}}\n");
    let mut world = World::at(Clock::system(), &hooks, extra).await;
    world.stop().await;
    let mut process = Process::start(&world);
    let before = holds(&process);
    for number in 0..ATTEMPTS {
        process.post(large(&format!("EV_{number}"), "a.example")).await;
    }
    let delivered = || process.lines().iter().filter(|line| line["msg"] == "delivered").count();
    let began = std::time::Instant::now();
    while delivered() < ATTEMPTS {
        assert!(began.elapsed() < PATIENCE, "{} are delivered", delivered());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let began = std::time::Instant::now();
    let mut now = holds(&process);
    while now.0 > before.0 + 16 || now.1 > before.1 + GROWN_KB {
        assert!(began.elapsed() < PATIENCE, "files and kB of memory: {before:?} before, {now:?} after");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        now = holds(&process);
    }
    println!("files and kB of memory: {before:?} before, {now:?} after {:?}", began.elapsed());
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_http1_receiver_never_reads_is_let_go_of() {
    let _turn = crate::turn().await;
    let (address, _receiver) = narrow(answers_at_once).await;
    is_let_go_of(&format!("http://{address}/"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_http2_receiver_never_reads_is_let_go_of() {
    let _turn = crate::turn().await;
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = issuer.write_to(folder.path());
    let acceptor = issuer.acceptor(b"h2");
    let treat = move |stream| answers_with_closed_windows(stream, acceptor.clone());
    let (address, _receiver) = narrow(treat).await;
    is_let_go_of(&format!("https://{address}/"), &["--ca-file", &authority]).await;
}
