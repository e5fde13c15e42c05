//! Receivers that speak HTTP/2 (RFC 9113), well and badly.

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use hyper::{Request, Response};
use serde_json::Value;
use switchhook::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use super::hell::{attempts, hooks, host};
use crate::spec::world::rude::{Receiver, Stream, frame, rude, secured, status, wait_for_request};
use crate::spec::world::{Issuer, PATIENCE, World, joined};

/// How a receiver that keeps the rules treats its first request. The connection goes on meanwhile.
type Treat = fn(&mut Connection<Stream, Bytes>, SendResponse<Bytes>);

async fn polite(stream: Stream, treat: Treat) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        drop::<Request<_>>(request);
        treat(&mut connection, respond);
    }
}

fn answer(mut respond: SendResponse<Bytes>, ends: bool) -> h2::SendStream<Bytes> {
    respond.send_response(Response::new(()), ends).expect("an open stream")
}

/// Posts to each receiver, and compares what its attempt comes to, with this timeout of the hooks'.
async fn judge(timeout: &str, issuer: &Issuer, table: Vec<(&str, Receiver, Value)>) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = issuer.write_to(folder.path());
    let hosts: Vec<_> = table.iter().map(|(name, ..)| host(name)).collect();
    let urls: Vec<_> = table.iter().map(|(_, (url, _), _)| url.clone()).collect();
    let world = World::at(Clock::system(), &hooks(&hosts, &urls, timeout), &["--ca-file", &authority]).await;
    let attempts = attempts(&world, &hosts).await;
    let told: Vec<_> =
        table.iter().zip(&attempts).map(|((name, ..), (outcome, _))| (*name, outcome)).collect();
    let expected: Vec<_> = table.iter().map(|(name, _, expected)| (*name, expected)).collect();
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_answers_count_and_what_ends_a_request_is_a_reset() {
    let issuer = Issuer::new();
    let treats: [(&str, Treat, Value); 6] = [
        ("good", |_, respond| drop(answer(respond, true)), 200.into()),
        (
            "a long answer",
            |_, respond| {
                let mut body = answer(respond, false);
                body.send_data(vec![b'x'; 10 << 20].into(), true).expect("an open stream");
            },
            200.into(),
        ),
        ("reset", |_, mut respond| respond.send_reset(Reason::INTERNAL_ERROR), "reset".into()),
        ("refused", |_, mut respond| respond.send_reset(Reason::REFUSED_STREAM), "reset".into()),
        ("goaway", |connection, _| connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM), "reset".into()),
        ("reset in the body", |_, respond| answer(respond, false).send_reset(Reason::CANCEL), "reset".into()),
    ];
    let mut table = Vec::new();
    for (name, treat, expected) in treats {
        table.push((name, secured(&issuer, move |stream| polite(stream, treat)).await, expected));
    }
    judge("10s", &issuer, table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_and_broken_frames_are_faults_of_protocol_long_before_the_attempts_deadline() {
    let issuer = Issuer::new();
    let ok = frame(1, 4, 1, &status("200"));
    let data = frame(0, 0, 1, &[b'x'; 16_384]);
    let floods = [
        ("settings", vec![], frame(4, 0, 0, b"")),
        ("pings", vec![], frame(6, 0, 0, &[7; 8])),
        ("early hints", vec![], frame(1, 4, 1, &status("103"))),
        (
            "continuations",
            frame(1, 0, 1, &status("200")),
            frame(9, 0, 1, &[0x10, 1, b'a', 1, b'b'].repeat(200)),
        ),
        ("header list", frame(1, 0, 1, &status("200")), frame(9, 0, 1, &[0x82; 16_000])),
        ("priorities", vec![], frame(2, 0, 1, &[0, 0, 0, 3, 16])),
        ("unknown frames", vec![], frame(0x77, 0, 0, &[0; 1000])),
        ("window updates", vec![], frame(8, 0, 0, &[0, 0, 0, 1])),
        ("data before the head", vec![], data.clone()),
        ("empty data", ok, frame(0, 0, 1, b"")),
        ("no frames", b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(2000), vec![]),
        ("no such compression", frame(1, 4, 1, &[0xff; 40]), vec![]),
    ];
    let mut table = Vec::new();
    for (name, once, forever) in floods {
        // In one write, many frames: the flood is as fast as the connection.
        let forever = forever.repeat(if forever.is_empty() { 0 } else { 1 + 16_384 / forever.len() });
        let treat = move |stream| rude(stream, once.clone(), forever.clone());
        table.push((name, secured(&issuer, treat).await, "protocol".into()));
    }
    judge("10s", &issuer, table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_receiver_that_says_nothing_is_a_timeout_and_one_that_goes_a_reset() {
    let issuer = Issuer::new();
    let silent = secured(&issuer, |stream| rude(stream, vec![], vec![])).await;
    let half = secured(&issuer, |stream| rude(stream, frame(1, 4, 1, &status("200")), vec![])).await;
    let gone = secured(&issuer, |stream| async move {
        let (mut read, _write) = split(stream);
        wait_for_request(&mut read).await;
    })
    .await;
    let table = vec![
        ("silent", silent, "timeout".into()),
        ("half", half, "timeout".into()),
        ("gone", gone, "reset".into()),
    ];
    judge("600ms", &issuer, table).await;
}

/// Events of many calls go over one connection at once, also if the answers are more in all than may be sent ahead.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_share_a_connection() {
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = issuer.write_to(folder.path());
    let (told, mut counted) = tokio::sync::mpsc::channel(64);
    let (url, _server) = secured(&issuer, move |stream| {
        let told = told.clone();
        async move {
            let _ = told.send(()).await;
            polite(stream, |_, respond| {
                answer(respond, false).send_data(vec![b'x'; 15_000].into(), true).expect("an open stream");
            })
            .await;
        }
    })
    .await;
    let hosts = [host("one")];
    let world = World::at(Clock::system(), &hooks(&hosts, &[url], "10s"), &["--ca-file", &authority]).await;
    let mut answered = 0;
    // The first one comes back when its receiver has said how many it takes at once.
    for round in [1, 30, 30, 30] {
        let ids: Vec<_> = (0..round).map(|n| format!("EV_{}_{n}", answered + n)).collect();
        for id in &ids {
            post(&world, id, &hosts[0]).await;
        }
        for id in &ids {
            assert_eq!(world.outcome(id).await, 200, "{id}");
        }
        answered += round;
    }
    let mut connections = 0;
    while counted.try_recv().is_ok() {
        connections += 1;
    }
    assert_eq!(connections, 1);
}

/// A world with these hosts, whose hooks lead to these URLs over TLS.
async fn secured_world(issuer: &Issuer, hosts: &[String], urls: &[String]) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = issuer.write_to(folder.path());
    let world = World::at(Clock::system(), &hooks(hosts, urls, "30s"), &["--ca-file", &authority]).await;
    (world, folder)
}

async fn post(world: &World, id: &str, host: &str) {
    assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
}

/// Takes two requests at once, answers those to `…/good`, and lets the others wait for ever; tells of each that waits.
async fn takes_two(stream: Stream, told: tokio::sync::mpsc::Sender<()>) {
    let handshake = h2::server::Builder::new().max_concurrent_streams(2).handshake::<_, Bytes>(stream);
    let Ok(mut connection) = handshake.await else { return };
    let mut waiting = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path().ends_with("/good") {
            drop(answer(respond, true));
        } else {
            waiting.push((request, respond));
            let _ = told.send(()).await;
        }
    }
}

/// Such as hooks of tenants that use the same platform: their deliveries could share a connection.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_hang_are_not_in_the_way_of_another_hooks_at_the_same_receiver() {
    let issuer = Issuer::new();
    let (told, mut hangs) = tokio::sync::mpsc::channel(64);
    let (url, _server) = secured(&issuer, move |stream| takes_two(stream, told.clone())).await;
    let sick: Vec<_> = (1..=7).map(|n| host(&format!("sick {n}"))).collect();
    let (hosts, good) = ([&sick[..], &[host("good")]].concat(), host("good"));
    let urls = [vec![url.clone(); sick.len()], vec![format!("{url}/good")]].concat();
    let (world, _folder) = secured_world(&issuer, &hosts, &urls).await;
    for (n, sick) in sick.iter().enumerate() {
        post(&world, &format!("EV_sick{n}"), sick).await;
        tokio::time::timeout(PATIENCE, hangs.recv()).await.expect("it gets through").expect("a request");
        post(&world, &format!("EV_good{n}"), &good).await;
        assert_eq!(world.outcome(&format!("EV_good{n}")).await, 200);
    }
}

/// Answers the first request of its connection, and refuses the second.
async fn refuses_the_second(stream: Stream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut count = 0;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        count += 1;
        match count {
            1 => drop(answer(respond, true)),
            _ => respond.send_reset(Reason::REFUSED_STREAM),
        }
    }
}

/// Answers the first request of its connection; when the second one comes, it goes away after the first (RFC 9113 §6.8).
async fn goes_after_the_first(stream: Stream) {
    let (mut read, mut write) = split(stream);
    let begin = [frame(4, 0, 0, b""), frame(4, 1, 0, b"")].concat();
    let goes = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    let sends = async {
        write.write_all(&begin).await.ok()?;
        wait_for_request(&mut read).await?;
        write.write_all(&frame(1, 5, 1, &status("200"))).await.ok()?;
        // The preface comes once.
        wait_for_request(&mut [0; 24].chain(&mut read)).await?;
        write.write_all(&goes).await.ok()
    };
    if sends.await.is_some() {
        let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_says_it_did_nothing_for_goes_over_another_connection_in_the_same_attempt() {
    let issuer = Issuer::new();
    let refusing = secured(&issuer, refuses_the_second).await;
    let going = secured(&issuer, goes_after_the_first).await;
    let hosts = [host("refusing"), host("going")];
    let (world, _folder) = secured_world(&issuer, &hosts, &[refusing.0, going.0]).await;
    for host in &hosts {
        for n in 1..=4 {
            let id = format!("EV_{n}_{}", host.replace('.', "-"));
            post(&world, &id, host).await;
            assert_eq!(world.outcome(&id).await, 200, "{id}");
        }
    }
}
