//! Edits of the hook table while events come: in force when they return, and after a crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::calls::{Fate, Post, Received};
use crate::hooks::{Source, parse_file};
use crate::ids::BodyHash;
use crate::network::Network;
use crate::outbox::take_over_tests::append_alone;
use crate::outbox::{Config, Retention};
use crate::registry::{Etag, Precondition, Whose};
use crate::route::Door;
use crate::telemetry::{Degradation, Health};
use crate::time::Clock;

const FILE: &str = "hooks:\n  - {host: file.example, url: 'https://file.example/'}\n";

struct World {
    outbox: Arc<Outbox>,
    health: Arc<Health>,
    clock: Clock,
}

fn around() -> Around<'static> {
    Around::new(Network::default(), |_: Source<'_>| Err("there are no secrets".into()))
}

fn master(lines: &[&str]) -> MasterSecret {
    let lines: Vec<_> = lines.iter().map(|line| line.repeat(32)).collect();
    MasterSecret::parse(&lines.join("\n")).expect("strong")
}

fn open(directory: &Path, file: &str, master: MasterSecret) -> World {
    let config = Config {
        directory: directory.to_owned(),
        to_fallback: true,
        hold: Duration::from_secs(30),
        patience: Duration::from_secs(60),
        memory_room: 1 << 30,
        retention: Retention::default(),
    };
    let (health, clock) = (Arc::<Health>::default(), Clock::manual(UnixMillis(1 << 40)));
    let outbox =
        Outbox::open(config, hooks(file), master, clock.clone(), Arc::clone(&health), Arc::default())
            .expect("a store");
    World { outbox: Arc::new(outbox), health, clock }
}

fn hooks(file: &str) -> Hooks {
    let (entries, terms) = parse_file(file, &around()).expect("a table");
    Hooks { entries, terms, read: LastGood { text: file.to_owned().into(), sources: BTreeMap::new() } }
}

fn pattern(host: &str) -> HostPattern {
    HostPattern::parse(host).expect("a host")
}

fn put(host: &str, spec: Value, now: bool, precondition: Precondition) -> EditRequest {
    EditRequest::Put { host: pattern(host), spec, now, precondition }
}

impl World {
    async fn edit(&self, edit: &EditRequest) -> Result<Carried, EditRefusal> {
        self.outbox.edit_hook(&Scope::for_tests(), edit, &around(), None).await.expect("a store")
    }

    async fn put(&self, host: &str, url: &str) -> Carried {
        let edit = put(host, json!({ "url": url }), false, Precondition::None);
        self.edit(&edit).await.expect("written")
    }

    /// The URL that a caller's event goes to; none: nowhere.
    async fn call(&self, call: &str, host: &str) -> Option<String> {
        let caller = json!({ "sid": format!("PA_{call}"), "kind": "SIP",
            "attributes": { "sip.ruleID": "SDR_1", "sip.h.x-to-ip": host } });
        self.hear(json!({ "event": "participant_joined", "participant": caller }), call).await
    }

    async fn hear(&self, mut event: Value, call: &str) -> Option<String> {
        event["id"] = format!("EV_{}_{call}", event["event"].as_str().expect("a name")).into();
        event["room"] = json!({ "sid": format!("RM_{call}"), "name": call });
        let body = Bytes::from(event.to_string());
        let (hash, issuer, door) = (BodyHash::of(&body), "".into(), Door::Platform);
        let (received_at, came) = (self.clock.unix(), self.clock.now());
        let post = Post::read(Received { body, hash, issuer, received_at, came, door });
        match append_alone(&self.outbox, post).await.expect("room").fate {
            Fate::Routed(delivery) => {
                let bound = delivery.bound.as_ref().map(|bound| bound.url.to_string());
                Some(bound.unwrap_or_else(|| delivery.hook.url.to_string()))
            }
            _ => None,
        }
    }

    async fn close(self) {
        self.outbox.close();
        self.outbox.writer_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_in_force_for_the_next_event_and_moves_live_calls_only_if_asked() {
    let directory = tempfile::tempdir().expect("a folder");
    let world = open(directory.path(), FILE, master(&["m"]));
    assert_eq!(world.call("1", "a.example").await, None);
    world.put("a.example", "https://one.example/").await;
    assert_eq!(world.call("2", "a.example").await.as_deref(), Some("https://one.example/"));
    world.put("a.example", "https://two.example/").await;
    assert_eq!(world.call("3", "a.example").await.as_deref(), Some("https://two.example/"));
    let track = || json!({ "event": "track_published" });
    assert_eq!(world.hear(track(), "2").await.as_deref(), Some("https://one.example/"));
    let spec = json!({ "url": "https://two.example/" });
    world.edit(&put("a.example", spec, true, Precondition::None)).await.expect("the same, now");
    let left = || json!({ "event": "room_finished" });
    assert_eq!(world.hear(left(), "2").await.as_deref(), Some("https://two.example/"));
    let gone =
        EditRequest::Delete { host: pattern("a.example"), now: true, precondition: Precondition::None };
    world.edit(&gone).await.expect("removed");
    assert_eq!(world.call("4", "a.example").await, None);
    assert_eq!(world.hear(track(), "3").await, None, "cut off");
    world.close().await;
}

/// What a crash leaves: the files as they are.
fn crash(from: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        if file.path().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_outlast_a_crash_and_reloads_of_the_file() {
    let directory = tempfile::tempdir().expect("a folder");
    let world = open(directory.path(), FILE, master(&["m"]));
    let made = world.put("a.example", "https://one.example/").await.edited.after.expect("a hook");
    world.put("b.example", "https://b.example/").await;
    world.edit(&EditRequest::Pause { host: pattern("a.example") }).await.expect("paused");
    let gone =
        EditRequest::Delete { host: pattern("b.example"), now: false, precondition: Precondition::None };
    world.edit(&gone).await.expect("removed");
    let rotate = EditRequest::Rotate(Whose::Host(pattern("a.example")));
    world.edit(&rotate).await.expect("renewed");
    let secrets =
        world.outbox.hook(&Scope::for_tests(), &pattern("a.example")).expect("a hook").hook.secrets.clone();

    let copy = crash(directory.path());
    let after = open(copy.path(), FILE, master(&["m"]));
    after.outbox.replace_hooks(hooks(FILE)).await.expect("replaced");
    for world in [&world, &after] {
        let found = world.outbox.hook(&Scope::for_tests(), &pattern("a.example")).expect("a hook");
        assert_eq!((found.hook.id, found.pause.by), (made.id, Some(PausedBy::Api)));
        assert_eq!((&found.hook.secrets, found.hook.origin), (&secrets, made.origin));
        assert!(world.outbox.hook(&Scope::for_tests(), &pattern("b.example")).is_none());
    }
    after.close().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clients_edit_at_once_and_no_update_is_lost_and_no_event_misrouted() {
    const CLIENTS: usize = 20;
    const ROUNDS: usize = 8;
    let directory = tempfile::tempdir().expect("a folder");
    let world = Arc::new(open(directory.path(), FILE, master(&["m"])));
    world.put("shared.example", "https://shared.example/").await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let world = Arc::clone(&world);
        clients.spawn(async move {
            let host = format!("c{client}.example");
            for round in 0..ROUNDS {
                let url = format!("https://c{client}.example/{round}");
                world.put(&host, &url).await;
                let call = format!("{client}-{round}");
                assert_eq!(world.call(&call, &host).await, Some(url));
                assert_eq!(
                    world.call(&format!("f{call}"), "file.example").await.as_deref(),
                    Some("https://file.example/")
                );
                count_up(&world).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client failed");
    }
    let shared = world.outbox.hook(&Scope::for_tests(), &pattern("shared.example")).expect("a hook").hook;
    assert_eq!(shared.settings.order_wait.as_secs(), (CLIENTS * ROUNDS) as u64 + 30);
    assert_eq!(shared.origin.version, (CLIENTS * ROUNDS) as i64 + 1);
    assert_eq!(world.outbox.table().len(), CLIENTS + 2);
}

/// Reads the shared hook and writes it with one second more, until nobody came between.
async fn count_up(world: &World) {
    loop {
        let hook = world.outbox.hook(&Scope::for_tests(), &pattern("shared.example")).expect("a hook").hook;
        let seconds = hook.settings.order_wait.as_secs() + 1;
        let spec = json!({ "url": "https://shared.example/", "order_wait": format!("{seconds}s") });
        let seen = Precondition::OneOf(vec![Etag::of(&hook)]);
        match world.edit(&put("shared.example", spec, false, seen)).await {
            Ok(_) => return,
            Err(EditRefusal::Stale { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_master_secret_is_another_serves_and_says_which_hooks_it_cannot_read() {
    let directory = tempfile::tempdir().expect("a folder");
    let world = open(directory.path(), FILE, master(&["a"]));
    world.put("plain.example", "https://plain.example/").await;
    let spec = json!({ "url": "https://a.example/", "timeout": "5s" });
    world.edit(&put("a.example", spec, false, Precondition::None)).await.expect("written");
    world.close().await;

    let world = open(directory.path(), FILE, master(&["b"]));
    assert!(world.health.is_on(Degradation::UnreadableHooks));
    assert_eq!(world.call("1", "a.example").await, None);
    assert_eq!(world.call("2", "file.example").await.as_deref(), Some("https://file.example/"));
    let unreadable: Vec<_> =
        world.outbox.table().aside().unreadable.iter().map(|hook| hook.host.clone()).collect();
    // An operator's hook may dial private networks, which is stored, too.
    assert_eq!(unreadable, ["plain.example", "a.example"]);
    world.close().await;

    let world = open(directory.path(), FILE, master(&["b", "a"]));
    assert!(!world.health.is_on(Degradation::UnreadableHooks));
    let hook = world.outbox.hook(&Scope::for_tests(), &pattern("a.example")).expect("a hook").hook;
    assert_eq!(hook.settings.timeout.as_secs(), 5);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_is_different_and_how_many_calls_keep_the_old_url() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = "hooks:
  - {host: a.example, url: 'https://a.example/'}
  - {host: b.example, url: 'https://b.example/'}
  - {host: c.example, url: 'https://c.example/'}
";
    let world = open(directory.path(), file, master(&["m"]));
    for (call, host) in [("1", "a.example"), ("2", "a.example"), ("3", "b.example"), ("4", "c.example")] {
        world.call(call, host).await.expect("a hook");
    }
    world.hear(json!({ "event": "room_finished" }), "2").await;
    let changed = "hooks:
  - {host: a.example, url: 'https://a.example/new', timeout: 5s, numbers: ['100']}
  - {host: b.example, url: 'https://b.example/new', now: true}
  - {host: c.example, url: 'https://c.example/', trunks: [ST_1]}
";
    let difference = world.outbox.replace_hooks(hooks(changed)).await.expect("replaced").difference;
    let told: Vec<_> = difference
        .changed
        .iter()
        .map(|changed| (changed.host.as_str(), changed.parts.join(" "), changed.keeps_calls, changed.calls))
        .collect();
    let expected = [
        ("a.example", "url numbers timeout", true, 1),
        ("b.example", "url", false, 0),
        ("c.example", "trunks", false, 0),
    ];
    assert_eq!(told, expected.map(|(host, parts, keeps, calls)| (host, parts.to_owned(), keeps, calls)));
    world.close().await;
}
