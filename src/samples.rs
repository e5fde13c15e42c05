//! Sample calls: what a tenant's receiver will see, before the first caller. Recorded from a real LiveKit, and made
//! new for each use: other ids, the present time, the hook's own host.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::Event;
use crate::time::UnixMillis;

/// The kinds of sample calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SampleCall {
    /// The caller is answered, talks and hangs up.
    Answered,
    /// The caller gives up before anybody answers.
    Unanswered,
    /// An agent waits in the room when the caller comes.
    WithAgent,
    /// The call is recorded: egress events, of which the last ones come after the room is finished.
    Recorded,
    /// The call is passed on to a specialist, who is called by SIP.
    Transferred,
}

/// The host that the recorded callers dialled.
const RECORDED_HOST: &str = "calls.acme.example";

/// Ids of LiveKit's: each sample call has its own.
const PREFIXES: [&str; 8] = ["EV_", "RM_", "PA_", "TR_", "EG_", "SCL_", "AJ_", "SCI_"];

/// Recorded Unix times lie within a day of this one, in seconds.
const RECORDED_AT: i64 = 1_795_240_000;
const DAY: i64 = 86_400;

/// One event of a sample call.
#[derive(Clone, PartialEq, Debug)]
pub struct SampleEvent {
    /// As LiveKit would send it.
    pub body: String,
    /// LiveKit's event id.
    pub id: String,
    /// LiveKit's event name.
    pub name: String,
    /// The room's sid.
    pub call: Option<String>,
}

impl SampleCall {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Unanswered, Self::WithAgent, Self::Recorded, Self::Transferred];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::WithAgent => "with_agent",
            Self::Recorded => "recorded",
            Self::Transferred => "transferred",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.as_str() == name)
    }

    fn recording(self) -> &'static str {
        match self {
            Self::Answered => include_str!("../tests/data/livekit/inbound-answered.jsonl"),
            Self::Unanswered => include_str!("../tests/data/livekit/inbound-caller-gives-up.jsonl"),
            Self::WithAgent => include_str!("../tests/data/livekit/agent-before-caller.jsonl"),
            Self::Recorded => include_str!("../tests/data/livekit/recorded-call.jsonl"),
            Self::Transferred => include_str!("../tests/data/livekit/warm-transfer.jsonl"),
        }
    }

    /// Its events in LiveKit's order, as if its caller had dialled `host` at `now`. `mark`: ends every id, so that no
    /// two sample calls share one; letters and digits.
    pub fn events(self, host: &str, mark: &str, now: UnixMillis) -> Vec<SampleEvent> {
        let posts =
            self.recording().lines().filter_map(|line| serde_json::from_str::<RecordedPost>(line).ok());
        let posts: Vec<_> = posts.collect();
        let first = posts.iter().find_map(|post| Event::parse(post.body.as_bytes()).ok()?.created_at);
        let rewriting = Rewriting { host, mark, later: now.seconds() - first.unwrap_or(RECORDED_AT) };
        posts.iter().filter_map(|post| sample(rewriting.body(&post.body))).collect()
    }
}

/// The event a test sends that names no kind of call: the caller's arrival.
pub fn arrival(host: &str, mark: &str, now: UnixMillis) -> Option<SampleEvent> {
    let events = SampleCall::Answered.events(host, mark, now);
    events.into_iter().find(|event| event.name == "participant_joined")
}

fn sample(body: String) -> Option<SampleEvent> {
    let event = Event::parse(body.as_bytes()).ok()?;
    let (id, name) = (event.id?.into_owned(), event.name.into_owned());
    let call = event.room_sid.map(Cow::into_owned);
    Some(SampleEvent { body, id, name, call })
}

/// A line of a recording.
#[derive(Deserialize)]
struct RecordedPost {
    body: String,
}

/// How a recorded body is made new. Only texts in quotes change: the rest stays as LiveKit spells it.
struct Rewriting<'a> {
    host: &'a str,
    mark: &'a str,
    /// Seconds from the recording until now.
    later: i64,
}

impl Rewriting<'_> {
    fn body(&self, recorded: &str) -> String {
        // The recordings hold no escaped quotes.
        let mut made = String::with_capacity(recorded.len() + 256);
        for (number, part) in recorded.split('"').enumerate() {
            if number > 0 {
                made.push('"');
            }
            let is_text = number % 2 == 1;
            if is_text { self.text(part, &mut made) } else { made.push_str(part) }
        }
        made
    }

    fn text(&self, text: &str, made: &mut String) {
        if let Some(time) = self.time(text) {
            made.push_str(&time);
        } else if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            made.push_str(text);
            made.push_str(self.mark);
        } else if text.starts_with("call-_") {
            made.push_str(text);
            made.push('_');
            made.push_str(self.mark);
        } else {
            made.push_str(&text.replace(RECORDED_HOST, self.host));
        }
    }

    /// A Unix time in whole seconds, milliseconds or nanoseconds, moved.
    fn time(&self, text: &str) -> Option<String> {
        let time: i64 = text.parse().ok()?;
        let unit = match text.len() {
            10 => 1,
            13 => 1000,
            19 => 1_000_000_000,
            _ => return None,
        };
        let is_time = (time / unit - RECORDED_AT).abs() < DAY;
        is_time.then(|| (time + self.later * unit).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_250);

    #[test]
    fn a_sample_call_is_as_livekit_would_send_it_now_to_this_host() {
        for call in SampleCall::ALL {
            let events = call.events("voice.globex.example", "m1", NOW);
            assert_eq!(SampleCall::named(call.as_str()), Some(call));
            assert!(events.len() >= 6, "{call:?}");
            assert_eq!(events[0].name, "room_started", "{call:?}");
            let dialled = events.iter().filter_map(|event| {
                let caller = Event::parse(event.body.as_bytes()).expect("JSON").caller?;
                caller.x_to_ip.map(Cow::into_owned)
            });
            let mut dialled: Vec<_> = dialled.collect();
            dialled.dedup();
            assert_eq!(dialled, ["voice.globex.example"], "{call:?}");
            for event in &events {
                assert!(event.id.ends_with("m1"), "{}", event.body);
                assert!(!event.body.contains(RECORDED_HOST), "{}", event.body);
                let created = Event::parse(event.body.as_bytes()).expect("JSON").created_at.expect("a time");
                assert!((created - NOW.seconds()).abs() < 600, "{}", event.body);
            }
        }
    }

    #[test]
    fn two_sample_calls_share_no_id_and_one_has_the_same_room_throughout() {
        let rooms = |mark: &str| {
            let events = SampleCall::Recorded.events("a.example", mark, NOW);
            let room = |event: &SampleEvent| {
                Event::parse(event.body.as_bytes()).expect("JSON").room_sid.map(Cow::into_owned)
            };
            let mut rooms: Vec<_> = events.iter().filter_map(room).collect();
            rooms.dedup();
            rooms
        };
        let (first, second) = (rooms("a"), rooms("b"));
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
        assert_eq!(arrival("a.example", "c", NOW).expect("an event").name, "participant_joined");
    }

    #[test]
    fn nothing_but_texts_changes() {
        let rewriting = Rewriting { host: RECORDED_HOST, mark: "", later: 0 };
        for line in SampleCall::Transferred.recording().lines() {
            let post: RecordedPost = serde_json::from_str(line).expect("a post");
            let body = rewriting.body(&post.body).replace("_\"", "\"");
            assert_eq!(body, post.body.replace("_\"", "\""));
        }
    }
}
