//! Names in hooks' URLs: who is asked, and what becomes of what they resolve to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;
use switchhook::Clock;

use crate::spec::world::{Client, Dns, RECORDED, Reply, Tenant, World, event, full, joined};

/// What the tests' tenants are called in the DNS.
const NAME: &str = "hooks.tenant.example";

/// A tenant's URL by another name.
fn named(tenant: &Tenant, name: &str) -> String {
    tenant.url().replace("127.0.0.1", name)
}

fn hook(host: &str, url: &str) -> String {
    format!("  - host: {host}\n    url: {url}\n")
}

/// A world whose hooks are these, and whose names this nameserver knows.
async fn world(clock: Clock, dns: &Dns, hooks: &[String], extra: &[&str]) -> World {
    let argument = dns.argument();
    World::at(clock, &format!("hooks:\n{}", hooks.concat()), &[extra, &[&argument]].concat()).await
}

/// A tenant that closes its connections, so that each attempt needs a new one.
async fn closing(answers: usize) -> Tenant {
    let close = || Reply::With(200, "connection", "close".to_owned());
    Tenant::answering(std::iter::repeat_with(close).take(answers)).await
}

async fn post(world: &World, id: &str, host: &str) {
    assert_eq!(world.post(&joined(id, id, host)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_nameserver_is_asked_and_of_several_addresses_one_that_answers_is_used() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    // Nobody listens at the first two.
    dns.set(NAME, &["127.0.0.3 127.0.0.2 127.0.0.1"]);
    let world = world(Clock::system(), &dns, &[hook("a.example", &named(&tenant, NAME))], &[]).await;
    post(&world, "EV_1", "a.example").await;
    assert_eq!(tenant.wait_for(1).await[0].header("host"), format!("{NAME}:{}", port(&tenant)));
}

/// Two are tried at a time, each for a quarter of a second before the next.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_do_not_answer_are_given_up_for_those_that_follow() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    let mut dead = Vec::new();
    for last in 2..6 {
        let port = port(&tenant).parse().expect("a port");
        dead.push(full(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))).await);
    }
    dns.set(NAME, &["127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 127.0.0.1"]);
    let world = world(Clock::system(), &dns, &[hook("a.example", &named(&tenant, NAME))], &[]).await;
    post(&world, "EV_1", "a.example").await;
    assert_eq!(world.outcome("EV_1").await, 200);
    let story = world.story("EV_1", |_| true).await;
    let latency = story["attempts"][0]["latency_ms"].as_f64().expect("milliseconds");
    assert!((1000.0..2500.0).contains(&latency), "{latency} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_names_addresses_eight_are_tried() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    // Nobody listens at the first ones.
    let addresses =
        |dead: u8| (2..2 + dead).map(|last| format!("127.0.0.{last} ")).collect::<String>() + "127.0.0.1";
    dns.set("seven.example", &[&addresses(7)]);
    dns.set("eight.example", &[&addresses(8)]);
    let hooks = ["seven.example", "eight.example"].map(|name| hook(name, &named(&tenant, name)));
    let world = world(Clock::system(), &dns, &hooks, &[]).await;
    for (id, host, outcome) in
        [("EV_7", "seven.example", json!(200)), ("EV_8", "eight.example", json!("refused"))]
    {
        post(&world, id, host).await;
        assert_eq!(world.outcome(id).await, outcome, "{host}");
    }
}

fn port(tenant: &Tenant) -> String {
    let url = tenant.url();
    url.trim_end_matches("/hook").rsplit(':').next().expect("a port").to_owned()
}

/// Also if the answer is so large that it comes by TCP.
#[tokio::test(flavor = "multi_thread")]
async fn one_forbidden_address_refuses_a_name_however_many_good_ones_it_has() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    let many: Vec<_> = (1..=120).map(|n| format!("127.0.0.{n}")).collect();
    let answers = [
        "127.0.0.1 10.0.0.7".to_owned(),
        "10.0.0.7 127.0.0.1".to_owned(),
        "127.0.0.1 fd00::7".to_owned(),
        "127.0.0.1 169.254.169.254".to_owned(),
        "127.0.0.1 ::ffff:10.0.0.7".to_owned(),
        "127.0.0.1 64:ff9b::a9fe:a9fe".to_owned(),
        format!("{} 192.168.0.1", many.join(" ")),
    ];
    let mut hooks = Vec::new();
    for (n, addresses) in answers.iter().enumerate() {
        dns.set(&format!("t{n}.example"), &[addresses]);
        hooks.push(hook(&format!("h{n}.example"), &named(&tenant, &format!("t{n}.example"))));
    }
    dns.set(NAME, &[&many.join(" ")]);
    hooks.push(hook("good.example", &named(&tenant, NAME)));
    let more: Vec<_> = (1..=257).map(|n| format!("127.0.{}.{}", n / 250, n % 250)).collect();
    dns.set("many.example", &[&more.join(" ")]);
    hooks.push(hook("many.test.example", &named(&tenant, "many.example")));
    let world = world(Clock::system(), &dns, &hooks, &[]).await;
    for (n, addresses) in answers.iter().enumerate() {
        let id = format!("EV_{n}");
        post(&world, &id, &format!("h{n}.example")).await;
        assert_eq!(world.outcome(&id).await, "forbidden", "{addresses}");
    }
    assert_eq!(tenant.count(), 0);
    post(&world, "EV_good", "good.example").await;
    assert_eq!(world.outcome("EV_good").await, 200);
    // Of more than 256 addresses none is used.
    post(&world, "EV_many", "many.test.example").await;
    assert_eq!(world.outcome("EV_many").await, "dns");
}

/// Between the hook being saved and the first attempt, and between attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_is_vetted_at_each_connection() {
    let (dns, tenant) = (Dns::open().await, closing(2).await);
    dns.set(NAME, &["127.0.0.1", "10.0.0.7", "127.0.0.1"]);
    let world = world(Clock::manual(RECORDED), &dns, &[hook("a.example", &named(&tenant, NAME))], &[]).await;
    post(&world, "EV_1", "a.example").await;
    assert_eq!(world.outcome("EV_1").await, 200);
    post(&world, "EV_2", "a.example").await;
    assert_eq!(world.outcome("EV_2").await, "forbidden");
    world.advance_until(Duration::from_millis(50), || tenant.count() == 2).await;
    assert_eq!((tenant.ids(), dns.asked(NAME)), (vec!["EV_1".to_owned(), "EV_2".to_owned()], 3));
}

/// Also if its receiver keeps a connection that is always busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_vetted_again_once_its_connection_is_a_minute_old() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    let world = world(Clock::manual(RECORDED), &dns, &[hook("a.example", &named(&tenant, NAME))], &[]).await;
    post(&world, "EV_first", "a.example").await;
    assert_eq!(world.outcome("EV_first").await, 200);
    dns.set(NAME, &["10.0.0.7"]);
    let mut outcomes = Vec::new();
    for n in 0..2 {
        world.clock.advance(Duration::from_secs(60));
        let id = format!("EV_{n}");
        post(&world, &id, "a.example").await;
        outcomes.push(world.outcome(&id).await);
    }
    assert_eq!(outcomes, ["forbidden", "forbidden"]);
}

/// What the operator opened is open to the file, and to those whose token says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_an_opened_network_is_not_open_to_a_tenant_without_private_targets() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    let world = world(Clock::system(), &dns, &["  []\n".to_owned()], &[]).await;
    let acme = Client::with_claims(&world, &json!({ "sub": "acme", "hosts": ["a.example"] }));
    let url = named(&tenant, NAME).replace("http:", "https:");
    let put = acme.put("/v1/hooks/a.example", &json!({ "url": url })).await;
    assert_eq!(put.status, 201, "{}", put.body);
    post(&world, "EV_1", "a.example").await;
    assert_eq!(world.outcome("EV_1").await, "forbidden");
    // With a token for private targets the same name is dialled; the receiver speaks no TLS.
    let opened = Client::tenant(&world, "acme", &["a.example"]);
    let put = opened.put("/v1/hooks/a.example", &json!({ "url": url })).await;
    assert!(put.status < 300, "{}", put.body);
    post(&world, "EV_2", "a.example").await;
    assert_eq!(world.outcome("EV_2").await, "tls");
}

/// A call that is bound to the URL a tenant chose for itself stays with it when the hook is given private targets.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_was_chosen_without_private_targets_never_reaches_them() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    let world = world(Clock::system(), &dns, &["  []\n".to_owned()], &[]).await;
    let acme = Client::with_claims(&world, &json!({ "sub": "acme", "hosts": ["a.example"] }));
    let url = named(&tenant, NAME).replace("http:", "https:");
    let put = acme.put("/v1/hooks/a.example", &json!({ "url": url })).await;
    assert_eq!(put.status, 201, "{}", put.body);
    assert_eq!(world.post(&joined("EV_1", "c1", "a.example")).await.status, 200);
    assert_eq!(world.outcome("EV_1").await, "forbidden");
    let opened = Client::tenant(&world, "acme", &["a.example"]);
    let put = opened.put("/v1/hooks/a.example", &json!({ "url": tenant.url() })).await;
    assert!(put.status < 300, "{}", put.body);
    // What came before is delivered to the new URL after its first attempt, and the call goes on there.
    tenant.wait_for(1).await;
    assert_eq!(world.post(&event("EV_2", "track_published", "c1")).await.status, 200);
    assert_eq!(world.outcome("EV_2").await, 200);
}

/// Nor does what was waiting for its first attempt when the hook was given private targets.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_url_without_private_targets_does_not_reach_them_later() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    let world = world(Clock::manual(RECORDED), &dns, &["  []\n".to_owned()], &[]).await;
    let acme = Client::with_claims(&world, &json!({ "sub": "acme", "hosts": ["a.example"] }));
    let url = named(&tenant, NAME).replace("http:", "https:");
    let put = acme.put("/v1/hooks/a.example", &json!({ "url": url, "rate": 0.1 })).await;
    assert_eq!(put.status, 201, "{}", put.body);
    for (id, call) in [("EV_1", "c1"), ("EV_2", "c2")] {
        assert_eq!(world.post(&joined(id, call, "a.example")).await.status, 200);
    }
    assert_eq!(world.outcome("EV_1").await, "forbidden");
    let opened = Client::tenant(&world, "acme", &["a.example"]);
    let put = opened.put("/v1/hooks/a.example", &json!({ "url": tenant.url(), "rate": 0.1 })).await;
    assert!(put.status < 300, "{}", put.body);
    world.advance_until(Duration::from_secs(1), || tenant.count() == 2).await;
    let outcome = world.outcome("EV_2").await;
    assert!(outcome == "forbidden" || outcome == 200, "{outcome}");
}

/// Within one server, a call keeps its older URL also with private targets.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_stays_with_the_older_path_of_a_private_target() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    let world = world(Clock::system(), &dns, &["  []\n".to_owned()], &[]).await;
    let acme = Client::tenant(&world, "acme", &["a.example"]);
    let events = [joined("EV_1", "c1", "a.example"), event("EV_2", "track_published", "c1")];
    for (posted, (id, path)) in events.iter().zip([("EV_1", "/older"), ("EV_2", "/newer")]) {
        let url = tenant.url().replace("/hook", path);
        let put = acme.put("/v1/hooks/a.example", &json!({ "url": url })).await;
        assert!(put.status < 300, "{}", put.body);
        assert_eq!(world.post(posted).await.status, 200);
        let story = world.story(id, |story| story["state"] == "delivered").await;
        let posted = story["attempts"][0]["url"].as_str().expect("a URL");
        assert!(posted.ends_with("/older"), "{posted}");
    }
}

/// An address of this machine that is not loopback; finding it sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_listens_everywhere_is_not_dialled_by_any_address_of_its_machine() {
    let dns = Dns::open().await;
    let everywhere = ["--listen", "0.0.0.0:0", "--allow-network", "0.0.0.0/0,::/0"];
    let world = world(Clock::system(), &dns, &["  []\n".to_owned()], &everywhere).await;
    let own = world.url("/webhook").replace("0.0.0.0", "127.0.0.1");
    let port = own.trim_end_matches("/webhook").rsplit(':').next().expect("a port");
    let mut urls: Vec<_> = ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]
        .map(|host| format!("http://{host}:{port}/webhook"))
        .into();
    match own_address() {
        Some(address) => {
            dns.set("own.tenant.example", &[&address.to_string()]);
            urls.push(format!("http://{address}:{port}/webhook"));
            urls.push(format!("http://own.tenant.example:{port}/webhook"));
        }
        None => println!("NOT CHECKED: this machine has no address but loopback"),
    }
    dns.set("loopback.tenant.example", &["127.0.0.7"]);
    urls.push(format!("http://loopback.tenant.example:{port}/webhook"));
    urls.push(format!("http://localhost.:{port}/webhook"));
    let operator = Client::operator(&world);
    for (n, url) in urls.iter().enumerate() {
        let path = format!("/v1/hooks/h{n}.example");
        let put = operator.put(&path, &json!({ "url": url })).await;
        assert_eq!(put.status, 201, "{url}: {}", put.body);
        let tested = operator.post(&format!("{path}/test"), &json!({})).await;
        assert_eq!(tested.body["events"][0]["error"], "forbidden", "{url}: {}", tested.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nameserver_that_does_not_answer_delays_its_own_names_only() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    let mut hooks = vec![hook("good.example", &named(&tenant, NAME))];
    for n in 0..100 {
        let name = format!("dead{n}.example");
        dns.hold(&name);
        hooks.push(hook(&format!("h{n}.example"), &format!("http://{name}:1/")));
    }
    let world = world(Clock::manual(RECORDED), &dns, &hooks, &[]).await;
    for n in 0..100 {
        post(&world, &format!("EV_{n}"), &format!("h{n}.example")).await;
    }
    post(&world, "EV_good", "good.example").await;
    assert_eq!(world.outcome("EV_good").await, 200);
    // All the others are still being looked up.
    for n in 0..100 {
        let story = world.story(&format!("EV_{n}"), |_| true).await;
        assert_eq!(story["attempts"], json!([]), "{n}");
    }
    world.clock.advance(Duration::from_secs(5));
    for n in 0..100 {
        assert_eq!(world.outcome(&format!("EV_{n}")).await, "dns");
    }
}

/// What one tenant's nameservers fail to answer counts for no other tenant: a question that gets lost on the way is
/// soon asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_dead_names_do_not_slow_the_questions_for_others() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.set(NAME, &["127.0.0.1"]);
    dns.lose(NAME, 2);
    let mut hooks = vec![hook("good.example", &named(&tenant, NAME))];
    for n in 0..100 {
        let name = format!("dead{n}.example");
        dns.hold(&name);
        hooks.push(hook(&format!("h{n}.example"), &format!("http://{name}:1/")));
    }
    let world = world(Clock::system(), &dns, &hooks, &[]).await;
    for n in 0..100 {
        post(&world, &format!("EV_{n}"), &format!("h{n}.example")).await;
    }
    for n in 0..100 {
        assert_eq!(world.outcome(&format!("EV_{n}")).await, "dns");
    }
    post(&world, "EV_good", "good.example").await;
    assert_eq!(world.outcome("EV_good").await, 200);
    let story = world.story("EV_good", |_| true).await;
    let latency = story["attempts"][0]["latency_ms"].as_f64().expect("milliseconds");
    assert!((300.0..1500.0).contains(&latency), "{latency} ms");
}

/// Twenty lanes want one name: it is looked up once, and they all get what it resolves to.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_once_at_a_time() {
    let (dns, tenant) = (Dns::open().await, Tenant::open().await);
    dns.keep(NAME, 30, &["127.0.0.1"]);
    dns.hold(NAME);
    let hooks: Vec<_> = (0..20).map(|n| hook(&format!("h{n}.example"), &named(&tenant, NAME))).collect();
    let world = world(Clock::manual(RECORDED), &dns, &hooks, &[]).await;
    for n in 0..20 {
        post(&world, &format!("EV_{n}"), &format!("h{n}.example")).await;
    }
    dns.release();
    tenant.wait_for(20).await;
    assert_eq!(dns.asked(NAME), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_used_again_for_its_time_to_live_and_at_most_thirty_seconds() {
    let (dns, tenant) = (Dns::open().await, closing(9).await);
    dns.keep("short.example", 10, &["127.0.0.1"]);
    dns.keep("long.example", 86_400, &["127.0.0.1"]);
    let hooks = ["short", "long"]
        .map(|name| hook(&format!("{name}.test.example"), &named(&tenant, &format!("{name}.example"))));
    let world = world(Clock::manual(RECORDED), &dns, &hooks, &[]).await;
    // After so many seconds, so often each name has been asked for.
    for (n, (seconds, short, long)) in
        [(0, 1, 1), (9, 1, 1), (2, 2, 1), (18, 3, 1), (2, 3, 2)].into_iter().enumerate()
    {
        world.clock.advance(Duration::from_secs(seconds));
        for name in ["short", "long"] {
            let id = format!("EV_{name}_{n}");
            post(&world, &id, &format!("{name}.test.example")).await;
            assert_eq!(world.outcome(&id).await, 200);
        }
        assert_eq!((dns.asked("short.example"), dns.asked("long.example")), (short, long), "step {n}");
    }
}
