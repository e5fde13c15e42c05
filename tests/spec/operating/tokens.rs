//! API tokens, and the secret they are made with.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use switchhook::Clock;

use crate::spec::world::{PATIENCE, Process, Tenant, World, table};

fn token(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchhook"));
    command
        .arg("token")
        .args(args)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .output()
        .expect("switchhook")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What `/metrics` answers to a token: it needs an operator's.
async fn metrics(base: &str, token: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("{base}/metrics")).bearer_auth(token).send().await;
    answer.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_offline_and_says_what_it_permits() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    let data = world.path("data").display().to_string();
    let made = token(&[
        "--tenant",
        "acme",
        "--host",
        "Calls.Acme.com",
        "--host",
        "*.eu.acme.com",
        "--number",
        "+1 555-0100",
        "--trunk",
        "ST_1",
        "--private",
        "--expires",
        "7d",
        "--data",
        &data,
    ]);
    let told = text(&made.stderr);
    assert!(made.status.success(), "{told}");
    let expected = [
        "tenant acme",
        "host         calls.acme.com",
        "*.eu.acme.com: A WILDCARD",
        "number       15550100",
        "trunk        ST_1",
        "private networks",
        "(7d)",
        "what the token is revoked by",
    ];
    expected.iter().for_each(|words| assert!(told.contains(words), "{words}\n{told}"));
    let tenants = text(&made.stdout);
    assert_eq!(tenants.lines().count(), 1);

    let admin = token(&["--admin", "--data", &data, "--json"]);
    let admin: Value = serde_json::from_slice(&admin.stdout).expect("JSON");
    assert_eq!((&admin["admin"], &admin["tenant"]), (&true.into(), &Value::Null));
    world.start().await;
    let base = world.api_url("");
    assert_eq!(metrics(&base, admin["token"].as_str().expect("a token")).await, 200);
    assert_eq!(metrics(&base, tenants.trim()).await, 403, "it verifies, and is no operator's");
}

#[test]
fn what_no_token_can_hold_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().display().to_string();
    let without = token(&["--admin", "--data", &data]);
    assert_eq!(without.status.code(), Some(1));
    let told = text(&without.stderr);
    assert!(told.contains("api.secret: No such file") && told.contains("--api-secret-file"), "{told}");
    let secret = dir.path().join("api.secret");
    std::fs::write(&secret, "too short").expect("a file");
    let weak = token(&["--admin", "--data", &data]);
    assert_eq!(weak.status.code(), Some(1));
    assert!(text(&weak.stderr).contains("holds less than 32 characters"), "{}", text(&weak.stderr));
    std::fs::write(&secret, "s".repeat(44)).expect("a file");

    let cases: [(&[&str], &str); 11] = [
        (&[], "--tenant <NAME>"),
        (&["--tenant", "acme", "--admin"], "cannot be used with"),
        (&["--admin", "--host", "a.example"], "cannot be used with"),
        (&["--tenant", "Acme Inc"], "lower-case letters"),
        (&["--tenant", "acme", "--host", "a b.example"], "neither a host nor a wildcard"),
        (&["--tenant", "acme", "--host", "*acme.com"], "neither a host nor a wildcard"),
        (&["--tenant", "acme", "--number", "home"], "holds no number"),
        (&["--tenant", "acme", "--trunk", ""], "trunk"),
        (&["--tenant", "acme", "--expires", "3651d"], "3650d at most"),
        (&["--tenant", "acme", "--expires", "0s"], "a second at least"),
        (&["--tenant", "acme", "--expires", "soon"], "a duration is a whole number"),
    ];
    for (args, reason) in cases {
        let refused = token(&[args, &["--data", &data]].concat());
        let told = text(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{args:?} {told}");
        assert!(told.contains(reason), "{args:?}\n{told}");
    }
    let many: Vec<String> = (0..1001).map(|n| format!("--host=a{n}.example")).collect();
    let many: Vec<&str> =
        many.iter().map(String::as_str).chain(["--tenant", "acme", "--data", &data]).collect();
    let refused = token(&many);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("at most 1000"), "{}", text(&refused.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_secret_is_renewed_with_overlap_while_the_router_runs() {
    let mut world = World::at(Clock::system(), "hooks: []\n", &[]).await;
    world.stop().await;
    let data = world.path("data").display().to_string();
    let made = || text(&token(&["--admin", "--data", &data]).stdout).trim().to_owned();
    let (old_secret, new_secret) =
        (std::fs::read_to_string(world.path("data/api.secret")).expect("a secret"), "n".repeat(44));
    let old = made();
    let router = Process::start(&world);
    let base = format!("http://{}", router.api_address);
    let becomes = async |token: &str, status: u16| {
        let began = Instant::now();
        while metrics(&base, token).await != status {
            assert!(began.elapsed() < PATIENCE, "never {status}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let write = |text: &str| std::fs::write(world.path("data/api.secret"), text).expect("a file");

    write(&format!("{new_secret}\n{old_secret}\n"));
    let new = made();
    becomes(&new, 200).await;
    assert_eq!(metrics(&base, &old).await, 200);
    write("hunter2");
    router
        .line(|line| line["msg"].as_str().is_some_and(|msg| msg.contains("the old secret stays in force")))
        .await;
    assert_eq!(metrics(&base, &new).await, 200);
    write(&new_secret);
    becomes(&old, 401).await;
    assert_eq!(metrics(&base, &new).await, 200);
    // Commands of this machine go on.
    let own = std::fs::read_to_string(world.path("data/operator.token")).expect("a token");
    assert_eq!(metrics(&base, &own).await, 200);
    let log = std::fs::read_to_string(world.path("log")).expect("the log");
    assert!(!log.contains("hunter2") && !log.contains(&new_secret), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_secret_may_come_from_elsewhere() {
    let mut world = World::with(&[]).await;
    world.stop().await;
    let secret = world.path("elsewhere");
    std::fs::write(&secret, "e".repeat(40)).expect("a file");
    let secret = secret.display().to_string();
    let router = Process::start_with(&world, &[("SWITCHHOOK_API_SECRET", &secret)]);
    let made = token(&["--admin", "--api-secret-file", &secret]);
    let base = format!("http://{}", router.api_address);
    assert_eq!(metrics(&base, text(&made.stdout).trim()).await, 200);
    let data = world.path("data").display().to_string();
    let other = token(&["--admin", "--data", &data]);
    assert_eq!(metrics(&base, text(&other.stdout).trim()).await, 401);
}

/// A receiver can be set up before the tenant's hook is: the secret is the one that will sign.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_secret_is_known_before_its_first_hook() {
    let tenant = Tenant::open().await;
    let world = World::with(&[]).await;
    let before = world.command(&["secret", "a.example"]).await;
    assert!(before.success && before.out.starts_with("whsec_"), "{}", before.err);
    world.hooks(&table(&[("a.example", &tenant)]));
    world.arrives("a.example", &tenant).await;
    assert_eq!(world.command(&["secret", "a.example"]).await.out, before.out);
    assert_ne!(world.command(&["secret", "b.example"]).await.out, before.out);
    let none = world.command(&["secret", "B.example"]).await;
    assert!(!none.success && none.err.contains("No tenant can have this name"), "{}", none.err);
}
