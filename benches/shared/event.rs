//! What LiveKit posts: recorded events, signed requests, and the hook tables that fit them.

use std::fmt::Write;
use std::ops::Range;

use serde_json::Value;
use switchhook::Clock;
use switchhook::bench::livekit_token;

/// LiveKit's API key in a benchmark, and its secret.
pub const KEY: &str = "APIbench";
pub const SECRET: &str = "a-benchmark-secret-used-only-on-loopback-001";

/// A whole recorded call.
const ANSWERED: &str = include_str!("../../tests/data/livekit/inbound-answered.jsonl");

/// A call whose headers reach LiveKit as attributes.
const WITH_HEADERS: &str = include_str!("../../tests/data/livekit/inbound-x-headers.jsonl");

/// The body of the first event of this name in a recorded call.
pub fn recorded(name: &str) -> String {
    first(ANSWERED, name)
}

fn first(recording: &str, name: &str) -> String {
    let posts = recording.lines().map(|line| serde_json::from_str::<Value>(line).expect("a recorded POST"));
    let mut bodies = posts.map(|post| post["body"].as_str().expect("a body").to_owned());
    bodies.find(|body| body.contains(name)).expect("such an event")
}

/// The hook table of the recorded calls, at public addresses.
pub fn recorded_hooks() -> String {
    include_str!("../../tests/data/livekit/hooks.yaml").replace("http://127.0.0.1", "http://192.0.1.1")
}

/// One event: what differs between those a benchmark posts.
pub struct Event {
    /// Unique in a run of the program.
    pub number: usize,
    /// The sid of its room.
    pub room: String,
    /// The host the caller dialled.
    pub host: String,
    /// Of a room without SIP.
    pub web: bool,
}

/// A recorded `participant_joined`, to be posted again and again as different events.
pub struct Template(Value);

impl Template {
    pub fn new() -> Self {
        let body = first(WITH_HEADERS, "participant_joined");
        Self(serde_json::from_str(&body).expect("an event"))
    }

    /// The body of an event; the receiver reads its number from the id.
    pub fn body(&self, event: &Event) -> String {
        let mut body = self.0.clone();
        body["id"] = format!("EV_{:012}", event.number).into();
        body["room"]["sid"] = event.room.as_str().into();
        body["participant"]["attributes"]["sip.h.x-to-ip"] = event.host.as_str().into();
        if event.web {
            body["participant"]["kind"] = "STANDARD".into();
        }
        body.to_string()
    }

    /// A whole signed request with an event.
    pub fn request(&self, event: &Event) -> Vec<u8> {
        signed_request(&self.body(event))
    }
}

/// A post of a body, as LiveKit signs it.
pub fn signed_request(body: &str) -> Vec<u8> {
    let token = livekit_token(KEY, SECRET, body.as_bytes(), Clock::system().unix());
    format!(
        "POST /webhook HTTP/1.1\r\nhost: switchhook\r\nauthorization: {token}\r\n\
         content-type: application/webhook+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The host of a hook in a made table.
pub fn host(hook: usize) -> String {
    format!("calls.tenant{hook:07}.example")
}

/// A hooks file with a host of its own for each hook; `url` gives where a hook's events go.
pub fn hooks_file(hooks: Range<usize>, url: impl Fn(usize) -> String) -> String {
    let mut text = String::from("hooks:\n");
    for hook in hooks {
        writeln!(text, "  - host: {}\n    url: {}", host(hook), url(hook)).expect("a String grows");
    }
    text
}
