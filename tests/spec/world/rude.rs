//! Receivers that speak HTTP/2 frame by frame (RFC 9113), and break its rules.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::certificates::Issuer;
use super::tenant::misbehaving;

pub type Stream = TlsStream<TcpStream>;

/// Its URL, and its tasks.
pub type Receiver = (String, JoinSet<()>);

/// A receiver over TLS whose connections are treated so.
pub async fn secured<F, R>(issuer: &Issuer, treat: F) -> Receiver
where
    F: Fn(Stream) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let acceptor = issuer.acceptor(b"h2");
    let (url, server) = misbehaving(move |stream| {
        let (acceptor, treat) = (acceptor.clone(), treat.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                treat(stream).await;
            }
        }
    })
    .await;
    (url.replace("http:", "https:"), server)
}

/// Sends these frames as soon as the request has come, and then those for ever.
pub async fn rude(stream: Stream, once: Vec<u8>, forever: Vec<u8>) {
    let (mut read, mut write) = split(stream);
    let settings = [frame(4, 0, 0, b""), frame(4, 1, 0, b"")].concat();
    if write.write_all(&settings).await.is_err() || wait_for_request(&mut read).await.is_none() {
        return;
    }
    let mut tasks = JoinSet::new();
    // What the router answers is taken: it must not be what holds the flood back.
    tasks.spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    if write.write_all(&once).await.is_err() {
        return;
    }
    if forever.is_empty() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    while write.write_all(&forever).await.is_ok() {}
}

/// A frame (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Reads until a frame of type HEADERS.
pub async fn wait_for_request(read: &mut (impl AsyncRead + Unpin)) -> Option<()> {
    read.read_exact(&mut [0; 24]).await.ok()?;
    loop {
        let mut head = [0; 9];
        read.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        read.read_exact(&mut payload).await.ok()?;
        if head[3] == 1 {
            return Some(());
        }
    }
}

/// `:status`, literal, never indexed (RFC 7541 §6.2.3).
pub fn status(code: &str) -> Vec<u8> {
    [&[0x18, 3], code.as_bytes()].concat()
}
