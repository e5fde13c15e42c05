//! The receivers in docs/tenants.md run as they are printed there, accept what the router sends, and refuse the rest.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::signatures::secret;
use crate::spec::world::{PATIENCE, Received, Tenant, World, joined, with_libraries};

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one fenced block of this language.
fn block(language: &str) -> String {
    let (text, fence) = (text("docs/tenants.md"), format!("\n```{language}\n"));
    let mut blocks = text.split(&fence).skip(1);
    let block = blocks.next().and_then(|rest| rest.split("\n```\n").next()).expect("a block");
    assert!(blocks.next().is_none(), "{language} has one block");
    format!("{block}\n")
}

/// A receiver of the document, running.
struct Receiver {
    url: String,
    said: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    child: Child,
}

impl Receiver {
    async fn start(mut command: Command, secret: &str) -> Self {
        command.env("SWITCHHOOK_SECRET", secret).env("PORT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}. `tests/run` installs what the receivers need.")
        });
        let said = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let mut receiver = Self { url: String::new(), said, child };
        let line = receiver.line().await;
        receiver.url = line.strip_prefix("listening on ").expect("its address").to_owned();
        receiver
    }

    /// The next line it prints.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.said.next_line()).await.expect("a line in time");
        if let Some(line) = line.expect("text") {
            return line;
        }
        let mut why = String::new();
        self.child.stderr.take().expect("standard error").read_to_string(&mut why).await.expect("text");
        panic!("it ended: {why}")
    }

    /// What it answers to a delivery, sent by somebody else.
    async fn answer(&self, delivery: &Received) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(&self.url).headers(delivery.headers.clone());
        request.body(delivery.body.clone()).send().await.expect("an answer").status().as_u16()
    }
}

/// Lets the router deliver to this receiver, and somebody else send it what was altered.
async fn receives_and_refuses(command: Command) {
    // The same tenant has a second hook, whose receiver keeps what comes.
    let kept = Tenant::open().await;
    let hooks = |url: &str| {
        let entry = |host, url| format!("  - host: {host}\n    tenant: acme\n    url: {url}\n");
        format!("hooks:\n{}{}", entry("acme.example", url), entry("kept.example", &kept.url()))
    };
    let mut world = World::at(switchhook::Clock::system(), &hooks(&kept.url()), &[]).await;
    let mut receiver = Receiver::start(command, &secret(&world, "acme").await).await;
    // The secret is being replaced: each delivery has two signatures, and the receiver knows the older.
    world.stop().await;
    let master = world.path("data/master.secret");
    let older = std::fs::read_to_string(&master).expect("the master secret");
    std::fs::write(&master, format!("a-new-master-secret-of-32-characters\n{older}")).expect("rotated");
    world.hooks(&hooks(&receiver.url));
    world.start().await;

    assert_eq!(world.post(&joined("EV_1", "größe", "acme.example")).await.status, 200);
    let story = world.story("EV_1", |story| story["attempts"][0].is_object()).await;
    assert_eq!((&story["state"], &story["attempts"][0]["status"]), (&"delivered".into(), &200.into()));
    let line = receiver.line().await;
    assert!(line.contains("EV_1") && line.contains("participant_joined"), "{line}");

    assert_eq!(world.post(&joined("EV_2", "größe", "kept.example")).await.status, 200);
    let genuine = kept.wait_for(1).await.remove(0);
    assert_eq!(genuine.header("webhook-signature").split(' ').count(), 2);
    assert_eq!(receiver.answer(&genuine).await, 200);
    let with = |name: &'static str, value: &str| {
        let mut altered = genuine.clone();
        altered.headers.insert(name, value.parse().expect("a header"));
        altered
    };
    let of_body = |body: &[u8]| {
        let mut altered = with("content-length", &body.len().to_string());
        altered.body = body.to_vec().into();
        altered
    };
    let mut unsigned = genuine.clone();
    unsigned.headers.remove("webhook-signature");
    let body = String::from_utf8_lossy(&genuine.body).replace("+15550199", "+15550100");
    assert_ne!(body.as_bytes(), genuine.body);
    let refused = [
        ("another body", of_body(body.as_bytes())),
        ("a body that is no text", of_body(b"\xff")),
        ("another id", with("webhook-id", "EV_3")),
        ("another time", with("webhook-timestamp", "1795240012")),
        ("no signature", unsigned),
        ("half a signature", with("webhook-signature", "v1")),
        ("a signature that is no base64", with("webhook-signature", "v1,a")),
    ];
    for (what, delivery) in refused {
        assert_eq!(receiver.answer(&delivery).await, 401, "{what}");
    }
    assert_eq!(receiver.answer(&genuine).await, 200, "what is genuine is still taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_python_takes_what_is_signed_and_nothing_else() {
    let mut command = with_libraries("python");
    command.args(["-c", &block("python")]);
    receives_and_refuses(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_javascript_takes_what_is_signed_and_nothing_else() {
    let mut command = with_libraries("node");
    command.args(["-e", &block("javascript")]);
    receives_and_refuses(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_rust_takes_what_is_signed_and_nothing_else() {
    let example = text("examples/receiver.rs");
    // What stands above the code is for this repository only: its docs and lints.
    let (_, code) = example.split_once(")]\n\n").expect("docs, lints, code");
    assert_eq!(block("rust"), code, "docs/tenants.md shows examples/receiver.rs");
    receives_and_refuses(Command::new(built_example("receiver"))).await;
}

/// An example as it is now: not every way to run this test has built it.
fn built_example(name: &str) -> PathBuf {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["build", "--frozen", "--quiet", "--message-format=json", "--example", name])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    assert!(cargo.status.success(), "{name} does not build");
    let said = String::from_utf8(cargo.stdout).expect("text");
    let messages = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let mut built = messages.filter(|message| message["target"]["name"] == name);
    let built = built.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    built.expect("an executable")
}
