//! `switchhook demo`: the whole thing on one screen.
//!
//! On loopback: the router as a child process of this very binary, an example LiveKit that posts
//! recorded calls of three tenants, one of whose receivers fails at first. Half-way the router is
//! killed (kill -9) and started again. What is promised is checked by what the receivers got.

mod router;
mod screen;
mod summary;
mod tenants;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use self::router::Child;
use self::screen::Screen;
use self::summary::Summary;
use self::tenants::Receivers;
use super::recording::{self, Posted, Sender, Sent, SignedWith};
use crate::cli::failure::Failure;
use crate::cli::remote::client;
use crate::cli::terminal::interrupted;
use crate::signature::fill_random;
use crate::time::{Clock, Moment};
use crate::wire::{EventState, EventStory};

/// Shows Switchhook at work, in under 20 seconds.
#[derive(clap::Args)]
pub struct Flags {
    /// One JSON object per line instead of the table
    #[arg(long)]
    json: bool,
}

/// Calls a real LiveKit posted, and the seconds at which each begins.
const CALLS: [(f64, &str); 8] = [
    (0.0, include_str!("../../../tests/data/livekit/inbound-answered.jsonl")),
    (1.0, include_str!("../../../tests/data/livekit/inbound-x-headers.jsonl")),
    (2.0, include_str!("../../../tests/data/livekit/inbound-no-edge-to-only.jsonl")),
    (3.0, include_str!("../../../tests/data/livekit/recorded-call.jsonl")),
    (4.0, include_str!("../../../tests/data/livekit/unknown-domain.jsonl")),
    (5.0, include_str!("../../../tests/data/livekit/inbound-rich-to.jsonl")),
    (6.0, include_str!("../../../tests/data/livekit/shared-domain-number.jsonl")),
    (7.0, include_str!("../../../tests/data/livekit/connection-aborted.jsonl")),
];

/// Recorded time passes so many times as fast.
const SPEED: f64 = 2.5;

/// When the router is killed.
const KILL_AFTER: Duration = Duration::from_millis(3300);

/// After the last event, everything must have arrived within this time.
const ARRIVE_WITHIN: Duration = Duration::from_secs(8);

/// The first deliveries to initech are answered 500.
const FAILING: usize = 2;

/// Runs the demonstration; fails if anything was lost or came out of order.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let clock = Clock::system();
    let folder = Folder::make()?;
    let receivers = Receivers::open(FAILING).await?;
    let hooks = receivers.hooks();
    std::fs::write(folder.0.join("hooks.yaml"), hooks).map_err(|error| Failure::new(error.to_string()))?;
    let port = free_port()?;
    let mut screen = Screen::new(flags.json, clock.clone());
    screen.title(port);
    let began = clock.now();
    let mut child = Child::start(&folder.0, port).await?;
    let (told, mut sent) = tokio::sync::mpsc::channel(1024);
    let sending = tokio::task::JoinSet::from_iter([post_calls(port, told)]);
    let mut answers = Vec::new();
    let mut killed = false;
    let mut interrupted = std::pin::pin!(interrupted());
    while !screen.is_gone() {
        tokio::select! {
            () = interrupted.as_mut() => return Err(Failure::silent()),
            line = child.line() => screen.log(&line),
            answer = sent.recv() => match answer {
                Some(answer) => answers.push(answer),
                None => break,
            },
            () = clock.sleep_until(began + KILL_AFTER), if !killed => {
                killed = true;
                child.kill().await;
                screen.note("router killed (kill -9)");
                let restarting = clock.now();
                child = Child::start(&folder.0, port).await?;
                screen.note(&format!("router started again, ready after {}", recording::ms(clock.now().since(restarting))));
            }
        }
    }
    drop(sending);
    let stories = settle(&folder.0, &answers, &mut child, &mut screen, &clock).await?;
    let summary = Summary::of(&answers, &stories, &receivers);
    child.stop().await;
    screen.summary(&summary);
    if summary.is_good() { Ok(()) } else { Err(Failure::new("the demonstration failed; see above")) }
}

/// Posts all calls as LiveKit does; each answer is sent to `told`.
async fn post_calls(port: u16, told: tokio::sync::mpsc::Sender<Sent>) {
    let mut posts: Vec<Posted> = Vec::new();
    for (begin, text) in CALLS {
        let call = recording::read("recording", text).unwrap_or_default();
        posts.extend(call.into_iter().map(|post| Posted { at: begin + post.at, ..post }));
    }
    let url = format!("http://127.0.0.1:{port}/webhook");
    let signing = SignedWith::Anew { key: "devkey".into(), secret: "secret".into() };
    if let Ok(sender) = Sender::new(&url, signing, Some(SPEED)) {
        // The channel holds more than is ever sent.
        sender.send(posts, |sent| drop(told.try_send(sent))).await;
    }
}

/// Waits until nothing is pending any more, and gives every event's story.
async fn settle(
    folder: &Path,
    answers: &[Sent],
    child: &mut Child,
    screen: &mut Screen,
    clock: &Clock,
) -> Result<HashMap<String, EventStory>, Failure> {
    let until = clock.now() + ARRIVE_WITHIN;
    let router = client::Router::of(None, folder.join("data"));
    let mut stories = HashMap::new();
    loop {
        for answer in answers {
            let settled = stories.get(&answer.id).is_some_and(|story: &EventStory| !is_open(story));
            if !settled && let Ok(story) = router.get(&["v1", "events", &answer.id]).answer().await {
                stories.insert(answer.id.clone(), story);
            }
        }
        drain_log(child, screen, clock, Duration::from_millis(150)).await;
        let pending = stories.values().any(is_open);
        if !pending || clock.now() > until {
            return Ok(stories);
        }
    }
}

/// Whether it is not decided yet what becomes of an event.
fn is_open(story: &EventStory) -> bool {
    matches!(story.state, EventState::Pending | EventState::Held)
}

/// Shows what the router still has to say, for a while.
async fn drain_log(child: &mut Child, screen: &mut Screen, clock: &Clock, pause: Duration) {
    let until: Moment = clock.now() + pause;
    while clock.now() < until {
        if let Ok(line) = clock.timeout(pause, child.line()).await {
            screen.log(&line);
        }
    }
}

/// A temporary folder that goes with its owner.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let mut name = [0; 8];
        fill_random(&mut name);
        let name = format!("switchhook-demo-{:016x}", u64::from_le_bytes(name));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A left-over temporary folder is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that is free now: the router is to have the same one after its restart.
fn free_port() -> Result<u16, Failure> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::new(format!("no free port on loopback: {error}")))
}
