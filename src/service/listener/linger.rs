//! The end of a connection on which the client may still be sending.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};

use crate::time::Clock;

/// Bytes that are read after our side is closed.
const BYTES: u64 = 8 << 20;

/// How long they are read.
const WITHIN: Duration = Duration::from_secs(3);

/// Reads what a client still sends, and throws it away, before the connection is closed: a body that is refused before
/// it was read is on its way, and if the socket were closed while bytes wait in it, the system would reset the
/// connection, and the client would lose the answer (RFC 9112 §9.6).
pub async fn linger(stream: impl AsyncRead + Unpin, clock: &Clock) {
    let mut rest = stream.take(BYTES);
    // The connection is closed now, whether the client has closed its side or not.
    let _ = clock.timeout(WITHIN, copy(&mut rest, &mut sink())).await;
}
