//! The orders of a router, made from what it has seen of its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::sample::Index;

use super::drawn::{Asked, DOMAINS, Kind};
use crate::calls::tests::world::hook;
use crate::calls::{
    AuditSweep, Change, DigestPart, ErasePart, ErasePlace, EraseStep, ErasedRows, FactSpan, GivenUp,
    HistoryPart, KeptBody, Next, Order, PutRight, Ready, Replay, SealedRoom, Settlement, Shelf, Sweep,
};
use crate::delivery::DeadReason;
use crate::hooks::{Around, HookTable, Numbered, Origin, Tenant, parse};
use crate::ids::{DeliveryId, HookId};
use crate::network::Network;
use crate::outbox::engine::contract::bench::{attempt, audit_record, tenant};
use crate::registry::{HookChange, PausedBy};
use crate::time::UnixMillis;

const DAY_MS: i64 = 24 * 3_600_000;

/// A hook that is or was: of this domain, with so many changes of its URL.
#[derive(Clone)]
struct SeenHook {
    id: HookId,
    domain: usize,
    version: i64,
    is_live: bool,
}

/// An erasure under way.
struct SeenErasure {
    id: i64,
    tenant: Tenant,
    /// Events up to this one are erased.
    event: i64,
    place: ErasePlace,
}

/// What a router has seen of its store.
#[derive(Default)]
pub struct Seen {
    now: UnixMillis,
    hooks: Vec<SeenHook>,
    /// The hooks as the next batch finds them.
    next_hooks: Vec<SeenHook>,
    last_id: i64,
    shelves: Vec<(DeliveryId, Shelf)>,
    last_record: i64,
    sessions: Vec<String>,
    chains: Vec<i64>,
    held: Vec<DeliveryId>,
    /// Deliveries that the dispatcher has, and how often each was tried.
    out: Vec<Replay>,
    attempts: BTreeMap<DeliveryId, u32>,
    /// What may be sent again.
    letters: Vec<Replay>,
    /// Erasures that are not done.
    erasures: Vec<SeenErasure>,
    begun: i64,
    parts: i64,
    digested: i64,
    parked: i64,
    generation: i64,
}

impl Seen {
    /// What a router begins with here: hooks of all three tenants, and an erasure.
    pub fn first(&mut self) -> [Order; 2] {
        let edit: Vec<_> = (0..3).map(|domain| self.add(domain)).collect();
        [Order::Edit(edit.into()), Order::BeginErasure { tenant: tenant(DOMAINS[1]), at: UnixMillis(0) }]
    }

    /// The hook table in force. One of the hooks does not want events of tracks.
    pub fn table(&self) -> HookTable {
        let numbered = |seen: &SeenHook| -> Numbered {
            let (host, around) =
                (DOMAINS[seen.domain], Around::new(Network::default(), |_| Err("none".into())));
            let events = if seen.domain == 1 { ", events: {exclude: [track_published]}" } else { "" };
            let text = format!("hooks:\n  - {{{}{events}}}\n", hook(host))
                .replace("/'", &format!("/{}'", seen.version));
            (parse(&text, &around).expect("a table").remove(0), seen.id, Vec::new())
        };
        let (live, gone): (Vec<_>, Vec<_>) = self.hooks.iter().partition(|hook| hook.is_live);
        let gone = gone.into_iter().map(|hook| (numbered(hook), true));
        HookTable::build(live.into_iter().map(numbered).collect(), gone.collect())
    }

    /// It is so late, and this is what stored events are kept as.
    pub fn at(&mut self, now: UnixMillis, shelves: Vec<(DeliveryId, Shelf)>) {
        (self.now, self.shelves) = (now, shelves);
    }

    /// What edits of the last batch have changed is in force.
    pub fn end_batch(&mut self) {
        self.hooks.clone_from(&self.next_hooks);
    }

    /// A batch is stored.
    pub fn hear(&mut self, change: &Change) {
        match change {
            Change::EventAdded(event) => {
                self.last_id = event.id.0;
                match &event.fate {
                    Ok(destination) => self.chains.push(destination.chain.0),
                    Err(_) => self.held.push(event.id),
                }
            }
            Change::CallBegun { session, .. } => self.sessions.push(session.to_string()),
            Change::Audited(entry) => self.last_record = entry.id,
            Change::Digested(part) => self.digested = part.up_to,
            Change::Swept { sweep, .. } => self.parked = self.parked.max(sweep.progress.1),
            Change::ErasureBegun { tenant, event, .. } => {
                self.begun += 1;
                let (id, tenant, event) = (self.begun, tenant.clone(), event.0);
                self.erasures.push(SeenErasure {
                    id,
                    tenant,
                    event,
                    place: ErasePlace::begin(EraseStep::Waiting),
                });
            }
            Change::Erased(part) => {
                let under_way = self.erasures.iter_mut();
                let meant = under_way.filter(|erasure| erasure.id == part.id && erasure.place == part.from);
                meant.for_each(|erasure| erasure.place.clone_from(&part.to));
                self.erasures.retain(|erasure| erasure.place.step != EraseStep::Done);
            }
            _ => {}
        }
    }

    /// The dispatcher has these to make.
    pub fn hand_over<'r>(&mut self, ready: impl Iterator<Item = &'r Ready>) {
        self.out.extend(ready.map(|ready| {
            let Ready { id, hook, chain, sequence, bytes, .. } = *ready;
            Replay { id, from: Shelf::Dead, hook, chain, sequence, bytes, paused_before: 0 }
        }));
    }

    /// A delivery that its receiver took.
    pub fn delivered(&mut self, delivery: DeliveryId, at: UnixMillis, number: u32) -> Settlement {
        self.attempts.insert(delivery, number);
        Settlement { delivery, attempt: attempt(number, at, 200), next: Next::Delivered, kept: None }
    }

    /// The order that was drawn; none if there is nothing for it.
    pub fn order(&mut self, asked: &Asked) -> Option<Order> {
        let Asked { kind, picks, variant } = asked;
        let (at, tenant) = (self.now, tenant(DOMAINS[variant % 3]));
        Some(match kind {
            Kind::Settle => Order::Settle(self.settle(picks[0], *variant)?),
            Kind::GiveUp => {
                let given_up = self.take_out(picks[0])?;
                self.letters.push(given_up);
                Order::GiveUp(GivenUp { delivery: given_up.id, reason: DeadReason::LaneFull, at })
            }
            Kind::Revive => {
                let letter = picks[0].index(self.letters.len().max(1));
                let replays = vec![(letter < self.letters.len()).then(|| self.letters.swap_remove(letter))?];
                Order::Revive { replays, at }
            }
            Kind::Reroute => Order::Reroute {
                sessions: some(picks, &self.sessions).into_iter().map(Into::into).collect(),
                at,
            },
            Kind::EndHold => Order::EndHold(some(picks, &self.held)),
            Kind::Sweep => Order::Sweep(Arc::new(self.sweep(picks, *variant))),
            Kind::Digest => {
                let up_to = self.digested + 1 + picks[0].index(10) as i64;
                Order::Digest(DigestPart {
                    after: self.digested,
                    up_to: up_to.min(self.last_id.max(self.digested)),
                })
            }
            Kind::CopyHistory => Order::CopyHistory(HistoryPart { after: 0, up_to: 9, is_last: false, at }),
            Kind::Pause => Order::Pause {
                hook: self.hook(picks[0]).id,
                at,
                by: [PausedBy::Gone, PausedBy::Api][variant % 2],
            },
            Kind::Resume => Order::Resume { hook: self.hook(picks[0]).id, at },
            Kind::Toggle => Order::Edit(self.toggle(!variant.is_multiple_of(4)).into()),
            Kind::Alter => Order::Edit(self.alter(picks[0]).into()),
            Kind::BeginErasure => Order::BeginErasure { tenant, at },
            Kind::Erase => Order::Erase(Arc::new(self.erase(picks, *variant)?)),
            Kind::Rotate => {
                self.generation += 1;
                Order::Rotate { tenant, generation: self.generation, at }
            }
            Kind::RevokeTenant => Order::RevokeTenant { tenant, at },
            Kind::RevokeToken => Order::RevokeToken { jti: token(*variant).into(), expires_at: at, at },
            Kind::Audit => Order::Audit(Arc::new(audit_record(at, &tenant))),
            Kind::Together => {
                let record = Order::Audit(Arc::new(audit_record(at, &tenant)));
                Order::Together([record, Order::RevokeTenant { tenant, at }].into())
            }
            // No disk has changed a row here: this one has been put right already.
            Kind::PutRight => {
                let (id, stored) = *self.shelves.get(picks[0].index(self.shelves.len().max(1)))?;
                Order::PutRight(PutRight { id, stored, sum: None })
            }
        })
    }

    fn settle(&mut self, pick: Index, variant: usize) -> Option<Settlement> {
        let of = *self.out.get(pick.index(self.out.len().max(1)))?;
        let number = self.attempts.get(&of.id).copied().unwrap_or_default() + 1;
        let settlement = self.delivered(of.id, self.now, number);
        let failed = attempt(number, self.now, 500);
        Some(match variant % 4 {
            0 => {
                let due = UnixMillis(self.now.0 + 1000);
                Settlement { attempt: failed, next: Next::Retry { due }, ..settlement }
            }
            1 => {
                let letter = self.take_out(pick)?;
                self.letters.push(letter);
                Settlement { attempt: failed, next: Next::Dead(DeadReason::Expired), ..settlement }
            }
            is_kept => {
                let letter = self.take_out(pick)?;
                self.letters.push(Replay { from: Shelf::Delivered, ..letter });
                let kept = (is_kept == 3).then(|| Arc::new(kept_body(letter.hook, self.now)));
                Settlement { kept, ..settlement }
            }
        })
    }

    /// A delivery that the dispatcher has no longer.
    fn take_out(&mut self, pick: Index) -> Option<Replay> {
        let at = pick.index(self.out.len().max(1));
        (at < self.out.len()).then(|| self.out.swap_remove(at))
    }

    /// Events that are stored, but for the newest.
    fn ids(&self, picks: &[Index]) -> Vec<DeliveryId> {
        some(picks, &(1..self.last_id).map(DeliveryId).collect::<Vec<_>>())
    }

    /// As a planner names events, by what they are kept as; never the newest one.
    fn sweep(&self, picks: &[Index], variant: usize) -> Sweep {
        let older = &self.shelves[..self.shelves.len().saturating_sub(1)];
        let kept_as = |shelf| some(picks, older).into_iter().filter(move |(_, is)| *is == shelf);
        let shelves = [Shelf::Delivered, Shelf::Dead, Shelf::Unrouted, Shelf::WithoutSip];
        let named = |shelf| kept_as(shelf).map(|(id, _)| id).collect::<Vec<_>>();
        let parks = variant.is_multiple_of(3);
        let up_to = if parks { self.last_id.max(self.parked) } else { self.parked };
        let records = usize::from(variant.is_multiple_of(5) && self.last_record > 1);
        Sweep {
            events: kept_as(shelves[variant % 4]).collect(),
            stripped: named(Shelf::WithoutSip),
            kept: named(Shelf::Delivered),
            chains: some(picks, &self.chains),
            silent_since: self.now.0 - DAY_MS,
            entries: vec![1, 2, 3],
            numbers: vec![format!("1555{}", variant % 3)],
            sessions: some(picks, &self.sessions),
            ended_before: (self.now.0 - DAY_MS / 24, self.now.0 - DAY_MS),
            parked: (self.parked + 1..=up_to).map(DeliveryId).collect(),
            progress: (self.parked, up_to),
            audit: AuditSweep {
                records,
                up_to: self.last_record - 1,
                surplus: vec![self.last_record - 2],
                tokens: vec![token(variant)],
            },
            usage: vec![(0, DOMAINS[0].to_owned())],
            facts: FactSpan { after: 0, up_to: (variant % 4) as i64, last_seq: self.digested },
            ..Sweep::default()
        }
    }

    /// Rows of any kind, whatever the step: what is not there any more is not removed.
    fn erase(&mut self, picks: &[Index], variant: usize) -> Option<ErasePart> {
        // What is erased is digested before.
        let ready: Vec<_> = self.erasures.iter().filter(|erasure| erasure.event <= self.digested).collect();
        let SeenErasure { id, tenant, event, place } = *ready.get(picks[0].index(ready.len().max(1)))?;
        let (id, tenant, event, from) = (*id, tenant.clone(), *event, place.clone());
        self.parts += 1;
        let sessions = some(picks, &self.sessions);
        let participants =
            || sessions.iter().map(|call| (call.clone(), format!("PA_{}_0", call.trim_start_matches("RM_"))));
        let is_gone = variant.is_multiple_of(2);
        let of = |gone: bool, numbers: &[String]| if gone { numbers.to_vec() } else { Vec::new() };
        let numbers = [format!("1555{}", variant % 3)];
        let rows = match variant / 8 {
            0 => ErasedRows::Events(self.ids(picks).into_iter().filter(|id| id.0 <= event).collect()),
            1 => ErasedRows::Facts((1..4).collect()),
            2 => ErasedRows::Calls { gone: of(is_gone, &sessions), bare: of(!is_gone, &sessions) },
            3 if is_gone => ErasedRows::Participants { gone: participants().collect(), bare: Vec::new() },
            3 => ErasedRows::Participants { gone: Vec::new(), bare: participants().collect() },
            4 => ErasedRows::Numbers { gone: of(is_gone, &numbers), moved: of(!is_gone, &numbers) },
            5 => ErasedRows::Records((1..=self.last_record).collect()),
            6 => ErasedRows::Pages((1..20).collect()),
            7 => ErasedRows::Files(vec!["switchhook.db.v2".to_owned()]),
            _ => ErasedRows::None,
        };
        let step = if matches!(rows, ErasedRows::None) { EraseStep::Done } else { EraseStep::Events };
        let to = ErasePlace { step, cursor: self.parts.to_string() };
        let shared = sessions.into_iter().map(|call| (call, DOMAINS[1].to_owned())).collect();
        Some(ErasePart { id, tenant, from, to, rows, shared, at: self.now })
    }

    fn hook(&self, pick: Index) -> &SeenHook {
        pick.get(&self.next_hooks)
    }

    fn add(&mut self, domain: usize) -> HookChange {
        let id = HookId(self.next_hooks.len() as i64 + 1);
        self.next_hooks.push(SeenHook { id, domain, version: 1, is_live: true });
        let (host, tenant) = (DOMAINS[domain].to_owned(), DOMAINS[domain].to_owned());
        let url = format!("https://{host}/1");
        HookChange::Add { id, host, tenant, url, kept: None, origin: Origin::default() }
    }

    /// Removes the hook of the third domain, or adds it again if it is removed. `cuts`: a removal also ends its calls' bindings.
    fn toggle(&mut self, cuts: bool) -> Vec<HookChange> {
        let at = self.now;
        let Some(hook) = self.next_hooks.iter_mut().find(|hook| hook.domain == 2 && hook.is_live) else {
            return vec![self.add(2)];
        };
        hook.is_live = false;
        let id = hook.id;
        let cut = cuts.then_some(HookChange::Cut { id });
        std::iter::once(HookChange::Remove { id, at }).chain(cut).collect()
    }

    /// A hook gets another URL, and its calls go there.
    fn alter(&mut self, pick: Index) -> Vec<HookChange> {
        let hook = pick.get_mut(&mut self.next_hooks);
        if !hook.is_live {
            return Vec::new();
        }
        hook.version += 1;
        let (id, version, url) =
            (hook.id, hook.version, format!("https://{}/{}", DOMAINS[hook.domain], hook.version));
        let moved = HookChange::Move { id, url: url.clone(), format: crate::hooks::Format::Raw };
        vec![HookChange::Alter { id, url, kept: None, version, at: self.now }, moved]
    }
}

/// Some of these, each once.
fn some<T: Clone + PartialEq>(picks: &[Index], of: &[T]) -> Vec<T> {
    let mut some = Vec::new();
    for pick in picks.iter().filter(|_| !of.is_empty()) {
        let one = pick.get(of);
        if !some.contains(one) {
            some.push(one.clone());
        }
    }
    some
}

/// The id of a token.
fn token(variant: usize) -> String {
    format!("token-{}", variant % 2)
}

/// The sealed body of an event that was delivered to a hook.
fn kept_body(hook: HookId, at: UnixMillis) -> KeptBody {
    let (tenant, sealed) = (tenant(DOMAINS[0]), vec![1, 2, 3]);
    let _counted = SealedRoom::default().count(&tenant, sealed.len());
    KeptBody { hook, tenant, at, until: UnixMillis(at.0 + DAY_MS), sealed, _counted }
}
