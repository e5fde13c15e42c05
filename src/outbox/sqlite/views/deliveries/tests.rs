//! Lists by the index equal a scan, whatever was added, digested, removed, replayed and parked.

use proptest::prelude::*;
use rusqlite::params;

use super::*;
use crate::access::Grant;
use crate::ids::DeliveryId;
use crate::outbox::sqlite::digest::index::enter;
use crate::outbox::sqlite::digest::{digested, enter_again};
use crate::outbox::sqlite::schema::in_memory;

/// Hook 1 to 4; the host of the last two is the same, one after the other.
const HOOKS: [(&str, &str); 4] = [("acme", "a"), ("acme", "b"), ("globex", "c"), ("initech", "c")];

/// A row: how far behind the one before; its hook, call, event's name, state and status.
type NewRow = (i64, usize, usize, usize, i64, u16);

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<NewRow>),
    /// All but so many of the youngest are digested.
    Digest(usize),
    Remove(usize),
    /// A row goes to another hook.
    Move(usize, usize),
    /// What waits is parked.
    Park,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec![200_u16, 404, 500, 503]);
    let row =
        (prop::sample::select(vec![1_i64, 2, 70, 900]), 0_usize..4, 0_usize..3, 0_usize..2, 0_i64..6, status);
    prop_oneof![
        4 => prop::collection::vec(row, 1..12).prop_map(Step::Add),
        2 => (0_usize..12).prop_map(Step::Digest),
        1 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), 0_usize..4).prop_map(|(row, hook)| Step::Move(row, hook)),
        1 => Just(Step::Park),
    ]
}

/// A store, and what stands in it.
struct Store {
    connection: Connection,
    rows: Vec<Stored>,
    last: i64,
}

#[derive(Clone, Debug)]
struct Stored {
    seq: i64,
    hook: usize,
    call: usize,
    event: usize,
    state: i64,
    status: u16,
}

impl Store {
    fn new() -> Self {
        let connection = in_memory();
        for (id, (tenant, host)) in (1..).zip(HOOKS) {
            let sql = "INSERT INTO hooks (id, host, tenant, url, layer, version, removed_at) \
                       VALUES (?1, ?2, ?3, 'https://a', 'file', 1, ?1)";
            connection.execute(sql, params![id, host, tenant]).expect("a hook");
        }
        Self { connection, rows: Vec::new(), last: 0 }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Add(rows) => rows.into_iter().for_each(|row| self.add(row)),
            Step::Digest(young) => self.digest(young),
            Step::Remove(row) if self.rows.len() > 1 => {
                let row = self.rows.remove(row % (self.rows.len() - 1));
                self.connection.execute("DELETE FROM events WHERE seq = ?1", [row.seq]).expect("gone");
            }
            Step::Move(row, hook) if !self.rows.is_empty() => {
                let at = row % self.rows.len();
                let row = &mut self.rows[at];
                let parked = "UPDATE events SET hook = ?2, state = 0, parked = 1 WHERE seq = ?1";
                (row.hook, row.state) = (hook, 0);
                self.connection.execute(parked, params![row.seq, hook as i64 + 1]).expect("moved");
                enter_again(&self.connection, DeliveryId(row.seq)).expect("entered");
            }
            Step::Park => {
                let park = "UPDATE events SET parked = 1 WHERE state = 0; \
                            UPDATE progress SET seq = (SELECT coalesce(max(seq), 0) FROM events)";
                self.connection.execute_batch(park).expect("parked");
            }
            Step::Remove(_) | Step::Move(..) => {}
        }
    }

    fn add(&mut self, (gap, hook, call, event, state, status): NewRow) {
        self.last += gap;
        let seq = self.last;
        let sql = "INSERT INTO events (seq, id, event, call, room, received_at, outcome, size, state, hook, status) \
                   VALUES (?1, 'EV_' || ?1, ?2, ?3, ?4, ?5, 'call', 9, ?6, ?7, ?8)";
        // One call has no session.
        let (sid, hook_id) =
            ((call > 0).then(|| format!("RM_{call}")), (state < 3).then_some(hook as i64 + 1));
        let (event_name, room, at) = (EVENTS[event], format!("room-{call}"), seq * 100);
        let values = params![seq, event_name, sid, room, at, state, hook_id, status];
        self.connection.execute(sql, values).expect("a row");
        self.rows.push(Stored { seq, hook, call, event, state, status });
    }

    fn digest(&self, young: usize) {
        let before = digested(&self.connection).expect("progress");
        let Some(last) = self.rows.iter().rev().nth(young).map(|row| row.seq).filter(|seq| *seq > before)
        else {
            return;
        };
        enter(&self.connection, before, last).expect("entered");
        self.connection.execute("UPDATE progress SET digested = ?1", [last]).expect("digested");
    }

    /// What a list must have, newest first.
    fn scan(&self, tenant: Option<&str>, filter: &DeliveryFilter) -> Vec<String> {
        let is_meant = |row: &&Stored| {
            let (of, host) = HOOKS[row.hook];
            let state =
                [Some(DeliveryState::Pending), Some(DeliveryState::Delivered), Some(DeliveryState::Dead)]
                    .get(usize::try_from(row.state).expect("small"))
                    .copied()
                    .flatten();
            let call = if row.call > 0 { format!("RM_{}", row.call) } else { "room-0".to_owned() };
            let room = format!("room-{}", row.call);
            state.is_some()
                && filter.state.is_none_or(|wanted| state == Some(wanted))
                && tenant.is_none_or(|own| own == of)
                && filter.tenant.as_deref().is_none_or(|wanted| wanted == of)
                && filter.host.as_deref().is_none_or(|wanted| wanted == host)
                && filter.event.as_deref().is_none_or(|wanted| wanted == EVENTS[row.event])
                && filter.call.as_deref().is_none_or(|wanted| wanted == call || wanted == room)
                && filter.answered.is_none_or(|(low, high)| (low..=high).contains(&row.status))
                && filter.since.is_none_or(|since| row.seq * 100 >= since.0)
                && filter.until.is_none_or(|until| row.seq * 100 < until.0)
        };
        let mut rows: Vec<_> = self.rows.iter().filter(is_meant).map(|row| row.seq).collect();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        rows.into_iter().map(|seq| format!("EV_{seq}")).collect()
    }

    /// All pages of a list.
    fn listed(&self, scope: &Scope, filter: &DeliveryFilter, limit: usize) -> Vec<String> {
        let (mut filter, mut ids) = (filter.clone(), Vec::new());
        loop {
            let page = page(&self.connection, scope, &filter, limit).expect("a page");
            assert!(page.deliveries.len() <= limit);
            assert!(page.next.is_none_or(|next| filter.before.is_none_or(|before| next < before)));
            ids.extend(page.deliveries.into_iter().map(|story| story.id));
            filter.before = page.next;
            if page.next.is_none() {
                return ids;
            }
        }
    }
}

/// The first one begins a session: by it, a room's name is found once the session is over.
const EVENTS: [&str; 2] = ["room_started", "room_finished"];

fn filter() -> impl Strategy<Value = DeliveryFilter> {
    let one_of = |texts: &[&'static str]| {
        let texts: Vec<_> = texts.to_vec();
        prop::option::weighted(0.3, prop::sample::select(texts).prop_map(str::to_owned))
    };
    let states = vec![DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Dead];
    let time = || prop::option::weighted(0.2, (0_i64..3_000_000).prop_map(UnixMillis));
    (
        one_of(&["acme", "globex", "nobody"]),
        one_of(&["a", "b", "c"]),
        one_of(&EVENTS),
        one_of(&["RM_1", "RM_2", "room-0", "room-1", "none"]),
        prop::option::weighted(0.4, prop::sample::select(states)),
        prop::option::weighted(0.2, prop::sample::select(vec![(503, 503), (500, 599), (200, 299)])),
        time(),
        time(),
    )
        .prop_map(|(tenant, host, event, call, state, answered, since, until)| DeliveryFilter {
            tenant,
            host,
            event,
            state,
            answered,
            call,
            since,
            until,
            ..DeliveryFilter::default()
        })
}

fn grant(tenant: Tenant) -> Grant {
    let (hosts, numbers, trunks, livekit) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Grant { tenant, hosts, numbers, trunks, livekit, private: false }
}

#[test]
fn a_call_whose_key_has_the_hash_of_a_tenant_hides_none_of_the_tenants_deliveries() {
    let mut store = Store::new();
    let rows = [(100, 0, 0, 0, 1, 200), (70, 2, 0, 0, 0, 200), (1, 2, 0, 0, 1, 200), (1, 2, 0, 0, 2, 200)];
    store.run(Step::Add(rows.to_vec()));
    // Its entry is of row 100: taken for a block, it would reach into the block of rows from 128 to 191.
    let call = "UPDATE events SET call = 'RM_vUnW@acme' WHERE seq = 100";
    assert_eq!(store.connection.execute(call, []), Ok(1));
    [Step::Digest(0), Step::Park].into_iter().for_each(|step| store.run(step));
    let states =
        [None, Some(DeliveryState::Pending), Some(DeliveryState::Delivered), Some(DeliveryState::Dead)];
    for state in states {
        let filter = DeliveryFilter { tenant: Some("globex".into()), state, ..DeliveryFilter::default() };
        assert_eq!(store.listed(&Scope::for_tests(), &filter, 10), store.scan(None, &filter), "{state:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn pages_hold_what_a_scan_finds(
        steps in prop::collection::vec(step(), 1..24),
        filters in prop::collection::vec((filter(), prop::option::of(0_usize..3), 1_usize..9), 1..6),
    ) {
        let mut store = Store::new();
        steps.into_iter().for_each(|step| store.run(step));
        for (filter, own, limit) in filters {
            let own = own.map(|own| ["acme", "globex", "nobody"][own]);
            let scope = own.map_or_else(Scope::for_tests, |name| {
                let tenant = Tenant::new(name).expect("a name");
                Scope::of_tenant_for_tests(grant(tenant))
            });
            prop_assert_eq!(store.listed(&scope, &filter, limit), store.scan(own, &filter), "{:?} {:?}", own, filter);
        }
    }
}
