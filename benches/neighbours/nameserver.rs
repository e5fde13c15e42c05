//! A nameserver on loopback: knows every tenant's name, and never answers for some of them (RFC 1035 §4.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The first letters of names that get no answer while their tenants are ill.
const SILENT: &str = "silent";

/// A tenant's name.
pub fn named(tenant: usize, is_silent: bool) -> String {
    format!("{}{tenant}.bench.example", if is_silent { SILENT } else { "tenant" })
}

pub struct Nameserver {
    pub address: String,
    /// Ends with the nameserver.
    _answering: JoinSet<()>,
}

impl Nameserver {
    pub async fn open(is_ill: Arc<AtomicBool>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address").to_string();
        let mut answering = JoinSet::new();
        answering.spawn(answer(socket, is_ill));
        Self { address, _answering: answering }
    }
}

async fn answer(socket: UdpSocket, is_ill: Arc<AtomicBool>) {
    let mut buffer = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let query = &buffer[..length];
        let is_silent = query.get(13..).is_some_and(|name| name.starts_with(SILENT.as_bytes()));
        if is_silent && is_ill.load(Ordering::Relaxed) {
            continue;
        }
        if let Some(answer) = answered(query) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// `127.0.0.1` to a question for IPv4 addresses, and nothing to any other.
fn answered(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const IPV4: [u8; 2] = [0, 1];
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..HEADER + name + 4)?;
    let is_ipv4 = question[name..name + 2] == IPV4;
    let mut answer = query[..2].to_vec();
    // A response, recursion available; one question, one or no answer.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
    answer.extend(question);
    if is_ipv4 {
        // The question's name; type A, class IN, 5 s, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
