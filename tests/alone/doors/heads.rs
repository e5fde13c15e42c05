//! Heads that are refused while their clients still send.

use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World};

/// Bytes of a head: many times what is read of one, and less than is thrown away.
const HEAD: usize = 3 << 20;

/// A client that sends all it has before it reads: the answer.
async fn sends(address: &str, begins: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(begins.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; HEAD]).await.expect("the whole head is taken");
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("in time");
    String::from_utf8_lossy(&answer[..read.expect("no reset")]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_head_that_is_refused_gets_the_answer_each_time() {
    let _turn = crate::turn().await;
    let world = World::at(Clock::system(), "hooks: []\n", &[]).await;
    for url in [world.url(""), world.api_url("")] {
        for _ in 0..20 {
            let address = url.trim_start_matches("http://");
            let large = sends(address, "POST /webhook HTTP/1.1\r\nhost: x\r\nx-large: ").await;
            assert!(large.starts_with("HTTP/1.1 431"), "{large}");
            let wrong = sends(address, "this is no HTTP\r\n\r\n").await;
            assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
        }
    }
}
