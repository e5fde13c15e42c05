//! Receivers over TLS: whose certificate is trusted, and what is said of one that is not.

use std::time::Duration;

use rcgen::date_time_ymd;
use serde_json::Value;
use switchhook::Clock;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::spec::world::{Issuer, Process, World, accepting, joined, misbehaving};

/// A receiver that answers 200 to every request; its URL.
async fn receiver(acceptor: TlsAcceptor) -> (String, JoinSet<()>) {
    let (url, server) = misbehaving(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut some = [0; 8192];
            while let Ok(1..) = stream.read(&mut some).await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    (url.replace("http:", "https:"), server)
}

fn hooks<'u>(urls: impl IntoIterator<Item = (&'u str, &'u String)>) -> String {
    let entries = urls.into_iter().map(|(host, url)| format!("  - host: {host}\n    url: {url}\n"));
    format!("hooks:\n{}", entries.collect::<String>())
}

/// The first attempt at an event for this host: its status or its fault.
async fn attempt(world: &World, host: &str) -> Value {
    let id = format!("EV_{}", host.replace('.', "-"));
    assert_eq!(world.post(&joined(&id, &id, host)).await.status, 200);
    world.outcome(&id).await
}

struct Authority {
    issuer: Issuer,
    file: String,
    _folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let (issuer, folder) = (Issuer::new(), tempfile::tempdir().expect("a folder"));
        Self { file: issuer.write_to(folder.path()), issuer, _folder: folder }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_the_operator_names_is_trusted_and_what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    let issuer = &authority.issuer;
    let expired = issuer.issue_as(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let elsewhere = issuer.issue_as(&["elsewhere.example"], |_| {});
    let future = issuer.issue_as(&["127.0.0.1"], |params| params.not_before = date_time_ymd(2200, 1, 1));
    let table = [
        ("good.example", accepting(&issuer.issue("a.example"), b"http/1.1"), Value::from(200)),
        ("expired.example", accepting(&expired, b"http/1.1"), "tls: expired".into()),
        ("name.example", accepting(&elsewhere, b"http/1.1"), "tls: wrong name".into()),
        ("issuer.example", Issuer::new().acceptor(b"http/1.1"), "tls: unknown issuer".into()),
        ("future.example", accepting(&future, b"http/1.1"), "tls".into()),
        ("protocol.example", issuer.acceptor(b"spdy/1"), "tls".into()),
    ];
    let mut servers = Vec::new();
    for (host, acceptor, expected) in table {
        let (url, server) = receiver(acceptor).await;
        servers.push((host, url, expected, server));
    }
    let table = hooks(servers.iter().map(|(host, url, ..)| (*host, url)));
    let world = World::at(Clock::system(), &table, &["--ca-file", &authority.file]).await;
    for (host, _, expected, _) in &servers {
        assert_eq!(attempt(&world, host).await, *expected, "{host}");
    }
    world.measures("attempts_total{outcome=\"tls: expired\",status_class=\"none\"} 1").await;
}

/// Without the flag the system's authorities count; `SSL_CERT_FILE` names others in their place.
#[tokio::test(flavor = "multi_thread")]
async fn the_systems_authorities_are_those_of_the_environment() {
    let authority = Authority::new();
    let (url, _server) = receiver(authority.issuer.acceptor(b"http/1.1")).await;
    let mut world = World::at(Clock::system(), &hooks([("a.example", &url)]), &[]).await;
    assert_eq!(attempt(&world, "a.example").await, "tls: unknown issuer");
    world.stop().await;
    let process = Process::start_with(&world, &[("SSL_CERT_FILE", &authority.file)]);
    process.post(joined("EV_2", "c2", "a.example")).await;
    process.line(|line| line["event_id"] == "EV_2" && line["status"] == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stalls_is_a_timeout_and_one_that_breaks_off_a_fault_of_tls() {
    let (stalls, _one) = misbehaving(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let (breaks, _two) = misbehaving(|mut stream| async move {
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    // What follows a TLS record's head is endless.
    let (floods, _three) = misbehaving(|mut stream| async move {
        let record = [&[0x16, 3, 3, 0x40, 0][..], &[0; 0x4000]].concat();
        while stream.write_all(&record).await.is_ok() {}
    })
    .await;
    let urls = [stalls, breaks, floods].map(|url| url.replace("http:", "https:"));
    let table =
        hooks([("stalls.example", &urls[0]), ("breaks.example", &urls[1]), ("floods.example", &urls[2])]);
    let world = World::at(Clock::system(), &table, &[]).await;
    assert_eq!(attempt(&world, "stalls.example").await, "timeout");
    assert_eq!(attempt(&world, "breaks.example").await, "tls");
    assert_eq!(attempt(&world, "floods.example").await, "tls");
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (_, key) = Issuer::new().issue("a.example");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [("key", key.as_str()), ("empty", ""), ("garbage", garbage)] {
        std::fs::write(path(name), text).expect("a file");
    }
    let expected = [
        ("key", "it holds no certificate (PEM)."),
        ("empty", "it holds no certificate (PEM)."),
        ("garbage", "certificate 1 cannot be used: "),
        ("missing", "No such file"),
    ];
    for (name, fault) in expected {
        let args =
            ["--dev".to_owned(), "--data".to_owned(), path("data"), "--ca-file".to_owned(), path(name)];
        let refused = switchhook::Config::from_args(args).err().expect("refused").to_string();
        assert!(refused.contains(&format!("--ca-file {}: {fault}", path(name))), "{refused}");
    }
}
