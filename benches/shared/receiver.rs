//! A receiver that does as little as one can: finds the event's number and answers 200.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the receiver reports of a delivery.
pub struct Received {
    /// The path of the URL, in lower case, with its first slash.
    pub path: String,
    /// The event's number.
    pub event: usize,
}

/// A port of its own, and its URL without a path.
pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// Receives; `note` is told each delivery before it is answered.
pub async fn receive(listener: TcpListener, note: impl Fn(Received) + Clone + Send + 'static) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(answer(stream, note.clone()));
    }
}

async fn answer(mut stream: TcpStream, note: impl Fn(Received)) {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        while let Some((length, received)) = whole_request(&buffer) {
            buffer.drain(..length);
            note(received);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The first request in the buffer, if it is whole, and its length.
pub fn whole_request(buffer: &[u8]) -> Option<(usize, Received)> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).expect("ASCII").to_ascii_lowercase();
    let path = text.split(' ').nth(1).expect("a path").to_owned();
    let length = text.split("content-length: ").nth(1)?.split('\r').next()?.parse::<usize>().ok()?;
    let body = buffer.get(head..head + length)?;
    let mark = b"\"id\":\"EV_";
    let at = body.windows(mark.len()).position(|window| window == mark).expect("an id") + mark.len();
    let event = std::str::from_utf8(&body[at..at + 12]).expect("digits").parse().expect("digits");
    Some((head + length, Received { path, event }))
}
