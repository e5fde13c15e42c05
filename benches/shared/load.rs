//! Posts prepared requests at a steady rate over kept connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// An event that was answered 200.
pub struct Ack {
    /// Which of the requests.
    pub n: usize,
    pub sent: Instant,
    pub took: Duration,
}

/// How requests are offered.
#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Requests a second, over all connections.
    pub rate: u64,
    /// When the first is due.
    pub start: Instant,
}

/// Requests under way.
pub struct Offering(JoinSet<Vec<Ack>>);

impl Load {
    /// Posts each request when it is due, or as soon as a connection is free.
    ///
    /// # Panics
    /// When an answer is not 200.
    pub fn offer(self, address: &str, requests: Vec<Vec<u8>>) -> Offering {
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let mut connections = JoinSet::new();
        for _ in 0..self.connections {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            connections.spawn(self.post(address.to_owned(), requests, next));
        }
        Offering(connections)
    }

    /// One connection: takes the next request until none is left.
    async fn post(self, address: String, requests: Arc<Vec<Vec<u8>>>, next: Arc<AtomicUsize>) -> Vec<Ack> {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (mut acks, mut buffer) = (Vec::new(), vec![0; 4096]);
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = requests.get(n) else { return acks };
            let due = self.start + Duration::from_secs_f64(n as f64 / self.rate as f64);
            tokio::time::sleep_until(due.into()).await;
            let sent = Instant::now();
            stream.write_all(request).await.expect("sent");
            let read = stream.read(&mut buffer).await.expect("an answer");
            let answer = &buffer[..read];
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
            acks.push(Ack { n, sent, took: sent.elapsed() });
        }
    }
}

impl Offering {
    /// Waits until all are answered.
    pub async fn answered(mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        while let Some(done) = self.0.join_next().await {
            acks.extend(done.expect("a connection"));
        }
        acks
    }
}
