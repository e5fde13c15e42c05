//! TLS handshakes that are begun by the thousand and never ended, and events that come over new connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::connect;
use crate::world::{Issuer, PATIENCE, Process, Tenant, World, joined, livekit_token, table};

/// Clients that begin one handshake after the other.
const FLOODING: usize = 64;

const EVENTS: usize = 100;

/// The first message of a TLS client: the server signs its answer.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client =
        client.expect("versions").with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("switchhook.example").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a message");
    hello
}

/// Begins handshakes, each until the server has signed, and leaves them.
async fn begins(address: String, hello: Arc<[u8]>, begun: Arc<AtomicUsize>) {
    let mut answer = [0; 1024];
    loop {
        let mut stream = connect(&address, 6).await;
        // It may be closed already for one that came later.
        let _ = stream.write_all(&hello).await;
        if stream.read(&mut answer).await.is_ok_and(|read| read > 0) {
            begun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_over_new_connections_beside_a_flood_of_handshakes() {
    let _turn = crate::turn().await;
    super::raise_limit();
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().expect("a folder"));
    let [cert, key] = issuer.issue_to(folder.path(), "events");
    let tenant = Tenant::open().await;
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let mut world = World::at(Clock::system(), &table(&[("a.example", &tenant)]), &tls).await;
    world.stop().await;
    let process = Process::start(&world);

    let (hello, begun, mut flood) = (Arc::from(hello()), Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..FLOODING {
        flood.spawn(begins(process.address.clone(), Arc::clone(&hello), Arc::clone(&begun)));
    }
    // Each of its posts is a handshake.
    let client = issuer.client();
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    for n in 0..EVENTS {
        let body = joined(&format!("EV_{n}"), &n.to_string(), "a.example");
        let token = livekit_token(&body, Clock::system().unix().seconds());
        let post = client.post(format!("https://{}/webhook", process.address)).header("authorization", token);
        let posted = Instant::now();
        assert_eq!(post.body(body).send().await.expect("an answer").status(), 200);
        slowest = slowest.max(posted.elapsed());
    }
    let (took, begun) = (began.elapsed(), begun.load(Ordering::Relaxed));
    println!("{EVENTS} events in {took:?}, the slowest took {slowest:?}, beside {begun} handshakes");
    assert!(begun > EVENTS && slowest < PATIENCE / 10, "{begun} {slowest:?}");
    drop(flood);
    tenant.wait_for(EVENTS).await;
}
