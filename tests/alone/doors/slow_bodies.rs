//! Bodies that come more slowly than they may, by the clock.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::{Traffic, connect, post};
use crate::world::{PATIENCE, Process, Tenant, World};

/// As many bodies of 1 MiB as there is room for.
const BODIES: usize = 64;

/// Posts a body of 1 MiB with 8 KiB a second until it is answered: the answer, and after how long it came.
async fn trickle(address: String) -> (String, Duration) {
    let mut stream = connect(&address, 3).await;
    stream.write_all(post("{", 1 << 20).as_bytes()).await.expect("sent");
    let (began, mut answer) = (Instant::now(), vec![0; 4096]);
    loop {
        let next = Duration::from_millis(250);
        if let Ok(read) = tokio::time::timeout(next, stream.read(&mut answer)).await {
            let told = String::from_utf8_lossy(&answer[..read.expect("an answer")]);
            return (told.into_owned(), began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "it is read for ever");
        // Whether it is still read is told by the answer.
        let _ = stream.write_all(&[b' '; 2 << 10]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_slower_than_the_least_rate_are_cut_and_events_go_on_meanwhile() {
    let _turn = crate::turn().await;
    let tenant = Tenant::open().await;
    let mut world = World::with(&[("a.example", &tenant)]).await;
    world.stop().await;
    let process = Process::start(&world);
    let mut traffic = Traffic::begin(&process, &tenant).await;

    let mut slow = JoinSet::new();
    for _ in 0..BODIES {
        slow.spawn(trickle(process.address.clone()));
    }
    let mut round = 0;
    while slow.len() == BODIES {
        round += 1;
        traffic.goes_on(&format!("slow{round}-")).await;
        if let Some(cut) = slow.try_join_next() {
            is_cut(cut.expect("an answer"));
        }
    }
    assert!(round > 1, "there was traffic meanwhile");
    slow.join_all().await.into_iter().for_each(is_cut);
    traffic.goes_on("afterwards").await;
}

/// Three seconds are given, and half a second more for each: the body would be 128 s on its way, and 10 s are the most
/// for any.
fn is_cut((told, after): (String, Duration)) {
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!((3..9).contains(&after.as_secs()), "{after:?}");
}
