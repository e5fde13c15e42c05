//! Calls as LiveKit tells them, and where each event belongs.

use serde_json::{Value, json};

/// The tenants, in the order of their receivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Two that take everything.
    One,
    Two,
    /// Fails part of the time.
    Failing,
    /// Its hosts come into the table one start after their first calls.
    Late,
    /// Takes nothing of a call until that is all dead letters.
    Letters,
    /// Its hook keeps bodies, and what was delivered is sent again.
    Kept,
    /// Its hosts come into the table while the router runs.
    Reloaded,
    /// Its hosts are edited over the API.
    Edited,
}

pub const TENANTS: usize = 8;

/// One event of a call.
pub struct Planned {
    pub id: String,
    pub body: String,
    pub at: At,
    /// It is posted right after a start: what its call has held is released during the take-over.
    pub after_start: bool,
}

/// A call: posted in this order, one event after the other.
pub struct Script {
    /// The session, as `switchhook-call` names it.
    pub call: String,
    pub events: Vec<Planned>,
}

impl Script {
    /// A call of one caller: the room and the agent come first.
    pub fn of_one(name: &str, at: At, host: &str) -> Self {
        let mut script = Self { call: format!("RM_{name}"), events: Vec::new() };
        script.say("room_started", None, at);
        script.say("participant_joined", Some(("PA_agent", None)), at);
        script.say("track_published", Some(("PA_agent", None)), at);
        script.say("participant_joined", Some(("PA_caller", Some(host))), at);
        script.say("track_published", Some(("PA_caller", None)), at);
        script.say("track_published", Some(("PA_agent", None)), at);
        script.say("participant_left", Some(("PA_caller", Some(host))), at);
        script.say("room_finished", None, at);
        script
    }

    /// The same; its caller comes right after a start.
    pub fn of_one_after_a_start(name: &str, at: At, host: &str) -> Self {
        let mut script = Self::of_one(name, at, host);
        script.events[3].after_start = true;
        script
    }

    /// A call of `first`'s that somebody of `second`'s joins.
    pub fn of_two(name: &str, first: (At, &str), second: (At, &str)) -> Self {
        let mut script = Self { call: format!("RM_{name}"), events: Vec::new() };
        script.say("room_started", None, first.0);
        script.say("participant_joined", Some(("PA_first", Some(first.1))), first.0);
        script.say("participant_joined", Some(("PA_second", Some(second.1))), second.0);
        script.say("track_published", Some(("PA_second", None)), second.0);
        script.say("track_published", Some(("PA_first", None)), first.0);
        script.say("track_published", Some(("PA_agent", None)), first.0);
        script.say("participant_left", Some(("PA_second", Some(second.1))), second.0);
        script.say("room_finished", None, first.0);
        script
    }

    fn say(&mut self, name: &str, participant: Option<(&str, Option<&str>)>, at: At) {
        let room = self.call.trim_start_matches("RM_");
        let id = format!("EV_{room}_{}", self.events.len() + 1);
        let mut body = json!({ "event": name, "room": { "sid": self.call, "name": room }, "id": id });
        if let Some((sid, host)) = participant {
            body["participant"] = participant_of(room, sid, host);
        }
        self.events.push(Planned { id, body: body.to_string(), at, after_start: false });
    }
}

fn participant_of(room: &str, sid: &str, host: Option<&str>) -> Value {
    let mut participant = json!({ "sid": format!("{sid}_{room}"), "identity": sid });
    if let Some(host) = host {
        participant["kind"] = "SIP".into();
        participant["attributes"] = json!({ "sip.ruleID": "SDR_x", "sip.h.x-to-ip": host });
    }
    participant
}
