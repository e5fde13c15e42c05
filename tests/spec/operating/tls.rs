//! Listeners that speak TLS.

use std::process::Command;
use std::time::{Duration, Instant};

use switchhook::Clock;
use tokio::io::AsyncReadExt;

use crate::spec::world::{
    Issuer, KEY, PATIENCE, Process, RECORDED, SECRET, Tenant, World, joined, livekit_token, searched, table,
};

/// What a client's request to `/readyz` is answered; none: there is no connection.
async fn asked(client: &reqwest::Client, base: &str) -> Option<(u16, String)> {
    let answer = client.get(format!("{}/readyz", base.replace("http://", "https://"))).send().await.ok()?;
    let status = answer.status().as_u16();
    assert_eq!(answer.version(), reqwest::Version::HTTP_11);
    Some((status, answer.text().await.ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_listeners_serve_tls_and_the_commands_find_the_api() {
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().expect("a folder"));
    let [cert, key] = issuer.issue_to(folder.path(), "both");
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--api-tls-cert", &cert, "--api-tls-key", &key];
    let tenant = Tenant::open().await;
    let mut world = World::at(Clock::system(), &table(&[("a.example", &tenant)]), &tls).await;
    world.stop().await;
    let mut router = Process::start(&world);
    let client = issuer.client();
    for address in [&router.address, &router.api_address] {
        let (status, told) = asked(&client, &format!("https://{address}")).await.expect("an answer");
        assert_eq!((status, told.contains("ready")), (200, true), "{told}");
        let plain = reqwest::get(format!("http://{address}/readyz")).await;
        assert!(plain.is_err(), "{plain:?}");
    }
    let body = joined("EV_1", "c", "a.example");
    let token = livekit_token(&body, Clock::system().unix().seconds());
    let post = client.post(format!("https://{}/webhook", router.address)).header("authorization", token);
    assert_eq!(post.body(body).send().await.expect("an answer").status(), 200);
    assert_eq!(tenant.wait_for(1).await[0].id(), "EV_1");

    // The certificate is made out to another name, and its issuer is unknown: the data directory vouches for it.
    let data = world.path("data").display().to_string();
    let secret = |data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
        command.args(["secret", "a.example", "--data", data]).env_clear().output().expect("switchhook")
    };
    let told = secret(&data);
    assert!(String::from_utf8_lossy(&told.stdout).starts_with("whsec_"), "{told:?}");
    let health = |data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
        searched(
            &["health"],
            command.args(["health", "--data", data]).env_clear().output().expect("switchhook"),
        )
    };
    let told = health(&data);
    assert_eq!((told.status.code(), &*told.stdout), (Some(0), &b"ready\n"[..]), "{told:?}");
    // Whoever else has taken the port does not get the token.
    let (other, _) = Issuer::new().issue("switchhook.example");
    std::fs::write(world.path("data/api.cert"), other).expect("a file");
    let told = secret(&data);
    assert_eq!((told.status.code(), told.stdout.len()), (Some(1), 0), "{told:?}");
    router.stop();
    let told = health(&data);
    assert!(String::from_utf8_lossy(&told.stderr).contains("no router answers"), "{told:?}");
    assert_eq!(told.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_and_a_pair_that_does_not_fit_changes_nothing() {
    let [first, second, third] = [Issuer::new(), Issuer::new(), Issuer::new()];
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = first.issue_to(folder.path(), "api");
    let world =
        World::at(Clock::system(), "hooks: []\n", &["--api-tls-cert", &cert, "--api-tls-key", &key]).await;
    let base = world.api_url("");
    assert_eq!(asked(&first.client(), &base).await.expect("an answer").0, 200);
    assert!(asked(&second.client(), &base).await.is_none());

    second.issue_to(folder.path(), "api");
    let began = Instant::now();
    while asked(&second.client(), &base).await.is_none() {
        assert!(began.elapsed() < PATIENCE, "the renewed certificate is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked(&first.client(), &base).await.is_none());
    assert_eq!(
        std::fs::read_to_string(&cert).ok(),
        std::fs::read_to_string(world.path("data/api.cert")).ok()
    );
    assert_eq!(world.ready().await.1["status"], "ready");

    // The certificate alone is renewed: its key is missing.
    let (renewed, its_key) = third.issue("switchhook.example");
    std::fs::write(&cert, renewed).expect("a file");
    world.logs(&[&cert, "is not the private key of the certificate"]).await;
    let (status, ready) = world.ready().await;
    assert_eq!(
        (status, &ready["status"], &ready["reasons"][0]),
        (200, &"degraded".into(), &"api_certificate".into())
    );
    assert!(asked(&second.client(), &base).await.is_some());
    assert!(asked(&third.client(), &base).await.is_none());
    std::fs::write(&key, its_key).expect("a file");
    let began = Instant::now();
    while asked(&third.client(), &base).await.is_none() || world.ready().await.1["status"] != "ready" {
        assert!(began.elapsed() < PATIENCE, "the pair that fits is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_client_and_a_stalled_handshake_cost_nothing() {
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().expect("a folder"));
    let [cert, key] = issuer.issue_to(folder.path(), "events");
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--connections", "2"];
    let world = World::at(Clock::manual(RECORDED), "hooks: []\n", &flags).await;
    let plain = reqwest::get(world.url("/readyz")).await;
    assert!(plain.is_err(), "{plain:?}");
    world.logs(&["no TLS handshake", "InvalidContentType"]).await;
    let client = issuer.client();
    assert!(asked(&client, &world.url("")).await.is_some());

    // Two that connect and say nothing have places until their time is up, or until somebody else comes.
    let mut stalled =
        [world.connect().await.expect("a connection"), world.connect().await.expect("a connection")];
    world.measures("connections{listener=\"events\"} 2").await;
    assert!(asked(&issuer.client(), &world.url("")).await.is_some());
    world.clock.advance(Duration::from_secs(10));
    let mut byte = [0];
    for stalled in &mut stalled {
        let closed = tokio::time::timeout(PATIENCE, stalled.read(&mut byte)).await.expect("in time");
        assert_eq!(closed.unwrap_or(0), 0);
    }
    assert!(asked(&client, &world.url("")).await.is_some());
}

#[test]
fn certificates_that_cannot_be_served_end_the_start() {
    let (issuer, dir) = (Issuer::new(), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("hooks.yaml"), "hooks: []\n").expect("hooks");
    std::fs::write(path("keys.yaml"), format!("{KEY}: {SECRET}\n")).expect("keys");
    let [cert, key] = issuer.issue_to(dir.path(), "one");
    let [_, other] = issuer.issue_to(dir.path(), "other");
    let (hooks, none) = (path("hooks.yaml"), path("none.pem"));
    let cases = [
        (vec!["--tls-cert", &cert], "--tls-cert is given, --tls-key is not.".to_owned()),
        (vec!["--api-tls-key", &key], "--api-tls-key is given, --api-tls-cert is not.".to_owned()),
        (vec!["--tls-cert", &none, "--tls-key", &key], format!("--tls-cert: {none}: No such file")),
        (vec!["--tls-cert", &hooks, "--tls-key", &key], format!("{hooks}: it holds no certificate (PEM)")),
        (vec!["--tls-cert", &cert, "--tls-key", &cert], format!("{cert}: it holds no private key (PEM)")),
        (
            vec!["--api-tls-cert", &cert, "--api-tls-key", &other],
            format!("--api-tls-cert: {other}: it is not the private key of the certificate in {cert}."),
        ),
        (
            vec!["--api-host", "http://a.example"],
            "--api-host http://a.example: it is no host name".to_owned(),
        ),
    ];
    for (flags, told) in cases {
        let start = Command::new(env!("CARGO_BIN_EXE_switchhook"))
            .args(["--hooks", &hooks, "--keys-file", &path("keys.yaml"), "--data", &path("data")])
            .args(flags)
            .env_clear()
            .output()
            .expect("switchhook");
        let error = String::from_utf8_lossy(&start.stderr);
        assert_eq!(start.status.code(), Some(78), "{error}");
        assert!(error.contains(&told), "{told}\n{error}");
    }
}
