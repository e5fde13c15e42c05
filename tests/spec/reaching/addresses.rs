//! Which addresses are dialled.

use serde_json::json;
use switchhook::Clock;

use crate::spec::world::{Client, Tenant, World, joined};

const HOST: &str = "a.example";

async fn post(world: &World, id: &str) {
    assert_eq!(world.post(&joined(id, "c", HOST)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_and_plain_http_are_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("hooks.yaml"), "hooks:\n  - host: a.example\n    url: http://10.0.0.7/hook\n")
        .expect("hooks");
    std::fs::write(path("keys.yaml"), "k: s\n").expect("keys");
    let args = ["--hooks", &path("hooks.yaml"), "--keys-file", &path("keys.yaml"), "--data", &path("data")];
    let refused = switchhook::Config::from_args(args).err().expect("refused").to_string();
    assert!(refused.contains("3:10  url      http://10.0.0.7/hook can never be delivered"), "{refused}");
}

/// Unless a network is opened: then their addresses are checked at each attempt.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_this_machine_and_its_network_are_refused_when_a_hook_is_saved() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let hooks = "hooks:\n  - host: a.example\n    url: https://LocalHost.:8443/hook\n  \
        - host: b.example\n    url: https://receiver.svc.cluster.local/\n";
    std::fs::write(path("hooks.yaml"), hooks).expect("hooks");
    let args = ["--dev", "--hooks", &path("hooks.yaml"), "--data", &path("data")];
    assert!(switchhook::Config::from_args(args).is_ok(), "--dev opens loopback");
    std::fs::write(path("keys.yaml"), "k: s\n").expect("keys");
    let args = ["--hooks", &path("hooks.yaml"), "--keys-file", &path("keys.yaml"), "--data", &path("data")];
    let refused = switchhook::Config::from_args(args).err().expect("refused").to_string();
    for told in [
        "3:10  url      https://LocalHost.:8443/hook can never be delivered: a name of this machine or its network",
        "start with --allow-network 127.0.0.0/8,::1/128",
        "5:10  url      https://receiver.svc.cluster.local/ can never be delivered: a name of this machine",
        "start with --allow-network CIDR (the network it is in)",
    ] {
        assert!(refused.contains(told), "{told}\n{refused}");
    }

    // The operator has opened loopback; a tenant's token does not permit it.
    let world = World::at(Clock::system(), "hooks: []\n", &[]).await;
    let acme = Client::with_claims(&world, &json!({ "sub": "acme", "hosts": [HOST] }));
    for host in
        ["localhost", "127.1", "db.internal", "printer.local", "nas", "x.home.arpa", "[::ffff:10.0.0.7]"]
    {
        let put = acme.put(&format!("/v1/hooks/{HOST}"), &json!({ "url": format!("https://{host}/") })).await;
        let fault = &put.body["errors"][0];
        assert_eq!((put.status, fault["field"].as_str()), (422, Some("url")), "{host}: {}", put.body);
        let fix = "https and a public address; private targets need a token that is made with --private";
        assert_eq!(fault["fix"], fix, "{host}");
    }
    let opened = Client::tenant(&world, "acme", &[HOST]);
    let put = opened.put(&format!("/v1/hooks/{HOST}"), &json!({ "url": "https://localhost/" })).await;
    assert_eq!(put.status, 201, "{}", put.body);
}

/// A name is judged by every address it resolves to, each time a connection is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_to_a_private_address_is_not_dialled() {
    let tenant = Tenant::open().await;
    let url = tenant.url().replace("127.0.0.1", "localhost");
    let hooks = format!("hooks:\n  - host: {HOST}\n    url: {url}\n");
    let open = ["127.0.0.0/8,::1/128", "10.0.0.0/8"];
    let [opened, closed] = open.map(|networks| ["--allow-network", networks]);
    let world = World::at(Clock::system(), &hooks, &opened).await;
    post(&world, "EV_1").await;
    tenant.wait_for(1).await;

    let world = World::at(Clock::system(), &hooks, &closed).await;
    post(&world, "EV_2").await;
    assert_eq!(world.outcome("EV_2").await, "forbidden");
    assert_eq!(tenant.ids(), ["EV_1"]);
}

/// Whatever is opened: a hook must not post to this router's own API, or feed it its own events.
#[tokio::test(flavor = "multi_thread")]
async fn the_routers_own_listeners_are_never_dialled() {
    let tenant = Tenant::open().await;
    let open = ["--allow-network", "127.0.0.0/8,::1/128"];
    let world = World::at(Clock::system(), "hooks: []\n", &open).await;
    let own = [
        world.url("/webhook"),
        world.api_url("/v1/hooks"),
        world.api_url("/").replace("127.0.0.1", "localhost"),
    ];
    let operator = Client::operator(&world);
    for (n, url) in own.iter().enumerate() {
        let put = operator.put(&format!("/v1/hooks/{HOST}"), &json!({ "url": url, "tenant": "a" })).await;
        assert!(put.status < 300, "{}", put.body);
        let tested = operator.post(&format!("/v1/hooks/{HOST}/test"), &json!({})).await;
        assert_eq!(tested.body["events"][0]["error"], "forbidden", "{url}: {}", tested.body);
        let id = format!("EV_{n}");
        assert_eq!(world.post(&joined(&id, &id, HOST)).await.status, 200);
        assert_eq!(world.outcome(&id).await, "forbidden", "{url}");
    }
    // A hook of the file, too; and what else listens on this machine is dialled.
    world.hooks(&format!("hooks:\n  - host: file.example\n    url: {}\n", world.api_url("/")));
    world.reloaded(1).await;
    assert_eq!(world.post(&joined("EV_file", "c9", "file.example")).await.status, 200);
    assert_eq!(world.outcome("EV_file").await, "forbidden");
    let put = operator.put("/v1/hooks/b.example", &json!({ "url": tenant.url(), "tenant": "b" })).await;
    assert_eq!(put.status, 201, "{}", put.body);
    world.arrives("b.example", &tenant).await;
}
