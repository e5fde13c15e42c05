//! What deciding knows after a start: the last event's id, every chain's last number, the pauses.

use std::sync::Arc;

use super::Kept;
use super::bench::{Bench, added, at, audit_record, chain, destination, freed, tenant};
use crate::calls::tests::world::room;
use crate::calls::{AuditEntry, AuditSweep, Change, Keys, LastNumber, Shelf, Sweep};
use crate::hooks::Origin;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::registry::{HookChange, PausedBy};
use crate::route::Reason;

/// An event on its way, with its number in the chain of `call` at hook 1.
fn routed(id: i64, call: &str, sequence: i64) -> Change {
    let event = room(&format!("EV_{id}"), "room_started", call);
    added(id, &event, Ok(destination(1, call, sequence)))
}

/// These numbers are written, and with them all up to the event `complete`.
fn written(numbers: &[(Chain, i64)], complete: i64) -> Change {
    let number = |(chain, sequence): &(Chain, i64)| LastNumber {
        chain: *chain,
        sequence: *sequence,
        seen_at: at(complete),
    };
    let numbers = numbers.iter().map(number).collect();
    Change::Swept { sweep: Arc::new(Sweep::default()), numbers, complete }
}

/// The number of a chain's next event after a start, and whether a start knows it without loading.
fn next<K: Kept>(bench: &mut Bench<K>, chain: Chain) -> (i64, bool) {
    let mut known = bench.start();
    let is_known = known.sequences.knows(chain);
    known.learn(bench.load(&Keys { chains: vec![chain], ..Keys::default() }));
    (known.sequences.next(chain), is_known)
}

pub fn a_start_goes_on_from_the_last_event<K: Kept>() {
    let mut bench = Bench::<K>::new();
    assert_eq!(bench.start().last_id(), DeliveryId(0));
    bench.commit(vec![routed(1, "c", 1), routed(7, "c", 2)]);
    assert_eq!(bench.start().last_id(), DeliveryId(7));
    let events = vec![(DeliveryId(1), Shelf::Pending), (DeliveryId(7), Shelf::Pending)];
    let sweep = Arc::new(Sweep { events, ..Sweep::default() });
    bench.commit(vec![Change::Swept { sweep, numbers: Vec::new(), complete: 0 }]);
    assert_eq!(bench.start().last_id(), DeliveryId(7));
}

pub fn numbers_go_on_after_a_start_whether_they_were_written_or_not<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let (c, d) = (chain(1, "c"), chain(1, "d"));
    bench.commit(vec![routed(1, "c", 1), routed(2, "d", 1), routed(3, "c", 2)]);
    assert_eq!([next(&mut bench, c), next(&mut bench, d)], [(3, true), (2, true)]);
    bench.commit(vec![written(&[(c, 2), (d, 1)], 3)]);
    assert_eq!([next(&mut bench, c), next(&mut bench, d)], [(3, false), (2, false)]);
    bench.commit(vec![routed(4, "c", 3)]);
    assert_eq!([next(&mut bench, c), next(&mut bench, d)], [(4, true), (2, false)]);
    // Rows that are gone take no number with them.
    let events = (1..=3).map(|id| (DeliveryId(id), Shelf::Pending)).collect();
    let sweep = Arc::new(Sweep { events, ..Sweep::default() });
    bench.commit(vec![Change::Swept { sweep, numbers: Vec::new(), complete: 0 }]);
    assert_eq!([next(&mut bench, c), next(&mut bench, d)], [(4, true), (2, false)]);
}

pub fn a_freed_events_number_is_written_with_it<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let event = room("EV_1", "room_started", "c");
    bench.commit(vec![added(1, &event, Err(Reason::Held)), routed(2, "d", 1), written(&[], 2)]);
    // An event from before what a start counts.
    bench.commit(vec![freed(1, "c", destination(1, "c", 1), 9)]);
    assert_eq!(next(&mut bench, chain(1, "c")), (2, false));
}

pub fn a_written_number_is_never_lowered<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let c = chain(1, "c");
    bench.commit(vec![written(&[(c, 5)], 1)]);
    bench.commit(vec![written(&[(c, 3)], 2)]);
    let keys = Keys { chains: vec![c], ..Keys::default() };
    bench.answers(&keys, |loaded| {
        assert_eq!(loaded.chains, [LastNumber { chain: c, sequence: 5, seen_at: at(2) }]);
    });
}

pub fn a_chain_is_forgotten_only_if_it_is_silent<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let (c, d) = (chain(1, "c"), chain(1, "d"));
    bench.commit(vec![written(&[(c, 5)], 1), written(&[(d, 5)], 3)]);
    let sweep = Sweep { chains: vec![c.0, d.0], silent_since: at(2).0, ..Sweep::default() };
    bench.commit(vec![Change::Swept { sweep: Arc::new(sweep), numbers: Vec::new(), complete: 0 }]);
    assert_eq!([next(&mut bench, c).0, next(&mut bench, d).0], [1, 6]);
}

pub fn the_ids_of_the_audit_log_go_on_after_a_start<K: Kept>() {
    let mut bench = Bench::<K>::new();
    assert_eq!(bench.start().next_audit_id(), 1);
    let audited = |id| {
        let record = Arc::new(audit_record(at(id), &tenant("acme")));
        Change::Audited(AuditEntry { id, record })
    };
    bench.commit(vec![audited(1), audited(2)]);
    bench.commit(vec![audited(2), audited(3), audited(4)]);
    assert_eq!(bench.start().next_audit_id(), 5);
    let audit = AuditSweep { records: 2, up_to: 2, surplus: vec![3], tokens: Vec::new() };
    let sweep = Arc::new(Sweep { audit, ..Sweep::default() });
    bench.commit(vec![Change::Swept { sweep, numbers: Vec::new(), complete: 0 }]);
    assert_eq!(bench.start().next_audit_id(), 5);
}

pub fn pauses_outlast_a_start_and_end_with_their_hook<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let add = |id| {
        let (host, tenant, url) =
            (format!("{id}.example"), format!("{id}"), format!("https://{id}.example/"));
        let (id, kept, origin) = (HookId(id), None, Origin::default());
        Change::Hook(HookChange::Add { id, host, tenant, url, kept, origin })
    };
    let paused = |id, seconds| Change::HookPaused { hook: HookId(id), at: at(seconds), by: PausedBy::Gone };
    let resumed = |id, seconds: i64| Change::HookResumed { hook: HookId(id), paused_ms: 1000 * seconds };
    bench.commit(vec![add(1), add(2), add(3), paused(1, 10), paused(2, 10), paused(3, 10)]);
    // One that is paused stays so since then.
    bench.commit(vec![resumed(2, 3), paused(3, 12)]);
    bench.commit(vec![resumed(2, 4)]);
    let pauses = bench.start().pauses;
    let told = |hook| (pauses.is_paused(HookId(hook)), pauses.total_ms(HookId(hook), at(20)));
    assert_eq!([told(1), told(2), told(3)], [(true, 10_000), (false, 3000), (true, 10_000)]);
    bench.commit(vec![Change::Hook(HookChange::Remove { id: HookId(1), at: at(21) })]);
    assert_eq!(bench.start().pauses.paused(), [HookId(3)]);
}

pub fn a_pause_that_is_stored_twice_counts_once<K: Kept>() {
    let mut bench = Bench::<K>::new();
    let (id, kept, origin) = (HookId(1), None, Origin::default());
    let (host, tenant, url) = ("a.example".to_owned(), "a".to_owned(), "https://a.example/".to_owned());
    bench.commit(vec![Change::Hook(HookChange::Add { id, host, tenant, url, kept, origin })]);
    let paused = |seconds| Change::HookPaused { hook: id, at: at(seconds), by: PausedBy::Api };
    let resumed = |paused_ms| Change::HookResumed { hook: id, paused_ms };
    for _ in 0..2 {
        bench.commit(vec![paused(10), resumed(2000), paused(20), resumed(5000)]);
        assert_eq!(bench.start().pauses.of(id).before_ms, 5000);
    }
    for _ in 0..2 {
        bench.commit(vec![paused(30), resumed(6000), paused(40)]);
        assert_eq!(bench.start().pauses.total_ms(id, at(41)), 7000);
    }
}
