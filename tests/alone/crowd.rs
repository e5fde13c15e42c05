//! Hundreds of calls of different tenants at once.

use std::collections::BTreeMap;

use switchhook::Clock;

use crate::world::World;
use crate::world::recorded::{HOSTS, all, hooks, recordings, rows, tenants, text};

/// Many calls of all tenants at once: the recordings again and again, with sessions, rooms, events and
/// participants of their own.
#[tokio::test(flavor = "multi_thread")]
async fn two_twenty_and_two_hundred_interleaved_calls_of_different_tenants_keep_apart() {
    let _turn = crate::turn().await;
    for calls in [2, 20, 200] {
        keep_apart(calls).await;
    }
}

async fn keep_apart(calls: usize) {
    let tenants = tenants().await;
    let folder = recordings();
    let world = World::at(Clock::system(), &hooks(&folder, &tenants), &[]).await;
    let names = ["inbound-answered", "inbound-x-headers", "inbound-mapped-headers", "unknown-domain"];
    let all = all(&folder);
    let copies: Vec<(&str, usize)> =
        (0..calls).map(|call| (names[call % names.len()], call / names.len())).collect();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut due: BTreeMap<String, usize> = BTreeMap::new();
    let rows = rows(&folder);
    for (name, copy) in &copies {
        for row in rows.iter().filter(|row| row[0] == *name) {
            expected.insert(format!("{}x{copy}", row[1]), row[3].clone());
            *due.entry(row[3].clone()).or_default() += 1;
        }
    }
    // A step of every call, then the next step of every call.
    let longest = names.iter().map(|name| all[*name].len()).max().expect("recordings");
    for step in 0..longest {
        for (name, copy) in &copies {
            let Some(post) = all[*name].get(step) else { continue };
            let own = |prefix: &str, body: String| {
                let parts = body.split(prefix).collect::<Vec<_>>();
                let suffixed = |part: &&str| {
                    let end = part.find('"').expect("a string's end");
                    format!("{prefix}{}x{copy}{}", &part[..end], &part[end..])
                };
                parts[0].to_owned() + &parts[1..].iter().map(suffixed).collect::<String>()
            };
            let body = ["\"EV_", "\"RM_", "\"PA_", "\"call-"]
                .into_iter()
                .fold(text(post, "body").to_owned(), |body, prefix| own(prefix, body));
            assert_eq!(world.post(&body).await.status, 200);
        }
    }
    for (host, tenant) in HOSTS.iter().zip(&tenants) {
        let due = due.get(*host).copied().unwrap_or_default();
        let came = tenant.wait_for(due).await;
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        for received in &came {
            assert_eq!(expected[received.id()], *host, "{}", received.id());
            let number = numbers.entry(received.header("switchhook-call")).or_default();
            *number += 1;
            assert_eq!(received.header("switchhook-sequence"), number.to_string());
            if *number == 1 {
                assert_eq!(received.header("switchhook-event"), "room_started");
            }
        }
        assert_eq!(came.len(), due);
    }
}
