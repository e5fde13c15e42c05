//! A small world without a store: a hook table, events as JSON, and what they do in a few words.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::calls::{
    Change, Decided, DecidedPost, Destination, Fate, Ground, Known, Order, Outcome, Post, Receipt, Received,
    decide,
};
use crate::delivery::Fresh;
use crate::hooks::{Around, HookTable, Tenant, parse};
use crate::ids::{BodyHash, HookId};
use crate::network::Network;
use crate::route::{Binding, Door, Placement};
use crate::time::{Moment, UnixMillis};

/// When the world begins.
pub const START: UnixMillis = UnixMillis(1_795_240_012_000);

/// A table from the entries of a hooks file, one a line; ids count from 1, in their order.
pub fn table(entries: &[&str]) -> HookTable {
    let text = entries.iter().map(|entry| format!("  - {{{entry}}}\n")).collect::<String>();
    let around = Around::new(Network::default(), |_| Err("there are no secrets".into()));
    let entries = parse(&format!("hooks:\n{text}"), &around).expect("a hook table");
    let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
    HookTable::build(numbered.collect(), Vec::new())
}

/// The entry of a hook of its own tenant.
pub fn hook(host: &str) -> String {
    format!("host: {host}, tenant: {host}, url: 'https://{host}/'")
}

/// A received event.
pub fn post(body: &str, at: UnixMillis, door: Door) -> Arc<Post> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (hash, came) = (BodyHash::of(&body), Moment::default());
    Arc::new(Post::read(Received { body, hash, issuer: "API".into(), received_at: at, came, door }))
}

/// A tenant's own URL; `own_key`: posted by the tenant's own LiveKit.
pub fn door_of(tenant: &str, own_key: bool) -> Door {
    Door::Tenant { tenant: Tenant::new(tenant).expect("a tenant"), own_key }
}

/// An event of a room, of its session `RM_{call}`.
pub fn room(id: &str, name: &str, call: &str) -> Value {
    json!({ "event": name, "id": id, "room": { "sid": format!("RM_{call}"), "name": call } })
}

/// An event that knows only its room's name, as those of recordings.
pub fn egress(id: &str, call: &str) -> Value {
    json!({ "event": "egress_started", "id": id, "egressInfo": { "roomName": call } })
}

/// A participant joins without attributes.
pub fn guest(id: &str, call: &str, participant: &str) -> Value {
    let mut event = room(id, "track_published", call);
    event["participant"] = json!({ "sid": participant, "identity": participant });
    event
}

/// An inbound caller joins, with these attributes besides the rule that let it in.
pub fn caller_with(id: &str, call: &str, participant: &str, attributes: &Value) -> Value {
    let mut event = room(id, "participant_joined", call);
    event["participant"] =
        json!({ "sid": participant, "kind": "SIP", "attributes": { "sip.ruleID": "SDR" } });
    for (name, value) in attributes.as_object().expect("attributes") {
        event["participant"]["attributes"][name] = value.clone();
    }
    event
}

/// An inbound caller who dialled `host` joins.
pub fn caller(id: &str, call: &str, participant: &str, host: &str) -> Value {
    caller_with(id, call, participant, &json!({ "sip.h.x-to-ip": host }))
}

/// The rules and what is known, without a store: nothing is ever missing, nothing is written.
pub struct World {
    pub table: HookTable,
    pub known: Known,
    pub now: UnixMillis,
    pub door: Door,
    pub fresh: Fresh,
}

/// What an event did.
pub struct Told {
    pub receipt: Receipt,
    /// Its changes in a few words.
    pub changes: Vec<String>,
    /// The deliveries to make, as `event host number`.
    pub ready: Vec<String>,
}

impl World {
    /// A world with hooks for these hosts, each of a tenant of its own.
    pub fn with(hosts: &[&str]) -> Self {
        let entries: Vec<_> = hosts.iter().map(|host| hook(host)).collect();
        Self::of(table(&entries.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// A world with this table.
    pub fn of(table: HookTable) -> Self {
        let (known, fresh, door) = (Known::default(), Fresh::default(), Door::Platform);
        Self { table, known, now: START, door, fresh }
    }

    /// An event comes, a second after the one before.
    pub fn hear(&mut self, event: &Value) -> Told {
        self.now.0 += 1000;
        let post = post(&event.to_string(), self.now, self.door.clone());
        let Decided { changes, mut posts, .. } = self.decide(&[post], &[]);
        let DecidedPost { receipt, ready, .. } = posts.remove(0);
        let ready = ready.iter().filter_map(|ready| ready.fresh.as_ref());
        let ready = ready
            .map(|delivery| format!("{} {} {}", delivery.event_id, delivery.hook.host, delivery.sequence));
        let ready = ready.collect();
        Told { receipt, changes: changes.iter().map(|change| self.told(change)).collect(), ready }
    }

    /// Several events come; the deliveries to make.
    pub fn hear_all(&mut self, events: &[Value]) -> Vec<String> {
        events.iter().flat_map(|event| self.hear(event).ready).collect()
    }

    /// An order is carried out.
    pub fn order(&mut self, order: Order) -> (Outcome, Vec<String>) {
        let Decided { changes, mut outcomes, .. } = self.decide(&[], &[order]);
        (outcomes.remove(0), changes.iter().map(|change| self.told(change)).collect())
    }

    /// Decides a batch.
    pub fn decide(&mut self, posts: &[Arc<Post>], orders: &[Order]) -> Decided {
        let ground = Ground { table: &self.table, to_fallback: false, fresh: &self.fresh };
        decide(posts, orders, &mut self.known, ground)
    }

    fn host(&self, hook: HookId) -> String {
        self.table.by_id(hook).map_or_else(|| "nobody".into(), |hook| hook.host.to_string())
    }

    fn to(&self, binding: &Binding) -> String {
        self.host(binding.hook)
    }

    fn where_to(&self, destination: &Destination) -> String {
        let Destination { rule, hook, bound, sequence, .. } = destination;
        let bound = if bound.is_some() { "" } else { " unbound" };
        format!("{rule} {} {sequence}{bound}", self.host(*hook))
    }

    /// A change in a few words.
    pub fn told(&self, change: &Change) -> String {
        match change {
            Change::EventAdded(event) => match &event.fate {
                Ok(destination) => format!("added {}", self.where_to(destination)),
                Err(reason) => format!("added {reason}"),
            },
            Change::CallBegun { bound, sip, .. } => {
                let bound = bound.as_ref().map(|(bound, by)| {
                    format!(" bound {} by {}", self.to(&bound.binding), by.as_deref().unwrap_or("none"))
                });
                format!("begun{}{}", if *sip { " sip" } else { "" }, bound.unwrap_or_default())
            }
            Change::CallSeen { .. } => "seen".into(),
            Change::CallBound { bound, participant, .. } => {
                format!("bound {} by {}", self.to(&bound.binding), participant.as_deref().unwrap_or("none"))
            }
            Change::CallHasSip { .. } => "sip".into(),
            Change::CallShared { .. } => "shared".into(),
            Change::CallFinished { .. } => "finished".into(),
            Change::ParticipantPlaced { participant, placement, .. } => match placement {
                Placement::At(binding) => format!("placed {participant} {}", self.to(binding)),
                Placement::Nowhere(reason, _) => format!("placed {participant} {reason}"),
            },
            Change::EventFreed(freed) => {
                format!("freed {} {}", freed.id.0, self.where_to(&freed.destination))
            }
            Change::EventStays { id, reason, .. } => format!("stays {} {reason}", id.0),
            Change::HoldEnded(ids) => format!("hold ended {}", ids.len()),
            Change::NumberCalled(called) => {
                let before = called.before.as_ref().map(|(before, _)| format!(" before {}", before.domain));
                format!("number {}{}", called.now.domain, before.unwrap_or_default())
            }
            Change::Attempted(settlement) => format!("attempted {}", settlement.delivery.0),
            Change::GivenUp(given_up) => format!("given up {}", given_up.delivery.0),
            Change::PutRight(put_right) => format!("put right {}", put_right.id.0),
            Change::LetterRevived { replay, .. } => format!("revived {}", replay.id.0),
            Change::Hook(_) => "hook".into(),
            Change::HookPaused { hook, .. } => format!("paused {}", self.host(*hook)),
            Change::HookResumed { hook, .. } => format!("resumed {}", self.host(*hook)),
            Change::SecretRotated { tenant, .. } => format!("rotated {tenant}"),
            Change::TenantRevoked { tenant, .. } => format!("revoked {tenant}"),
            Change::TokenRevoked { jti, .. } => format!("revoked {jti}"),
            Change::Audited(entry) => format!("audited {} {}", entry.id, entry.record.action),
            Change::HistoryCopied(part) => format!("copied {}", part.up_to),
            Change::Digested(part) => format!("digested {}", part.up_to),
            Change::ErasureBegun { tenant, event, .. } => format!("erasure {tenant} {}", event.0),
            Change::Erased(part) => format!("erased {}", part.to.step.as_str()),
            Change::Swept { numbers, complete, .. } => format!("swept {} {complete}", numbers.len()),
        }
    }
}

/// Where an event went, in a few words.
pub fn fate(receipt: &Receipt) -> String {
    match &receipt.fate {
        Fate::Routed(delivery) => format!("{} {}", delivery.rule, delivery.hook.host),
        Fate::Unrouted(reason) => reason.to_string(),
        Fate::Duplicate => "duplicate".into(),
        Fate::Undecided => "undecided".into(),
    }
}
