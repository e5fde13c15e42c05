//! A tenant's data is erased: a reader walks through each table in the order of its rows and plans a part, the writer
//! removes it, with how far it came. So an erasure goes on where it was, whatever ended the process.

mod domains;
mod pages;
mod plan;
mod remove;
mod stored;
mod tables;

use rusqlite::{Connection, OptionalExtension, Result, params};

pub use self::domains::OwnDomains;
pub use self::plan::plan;
pub use self::stored::{StoredErasure, begin, has_old_remains, is_known, next, of_tenant};

use super::Bodies;
use crate::calls::{ErasePart, EraseStep};

/// Carries out a part. If it was carried out before, what its batch has stored anew is removed, and counts no more.
pub fn run(connection: &Connection, bodies: &mut Bodies, part: &ErasePart) -> Result<()> {
    let ErasePart { id, from, to, at, .. } = part;
    let found: Option<(String, bool)> = connection
        .prepare_cached(
            "SELECT report, (step, cursor) = (?4, ?5) FROM erasures \
             WHERE id = ?1 AND (step, cursor) IN (VALUES (?2, ?3), (?4, ?5)) AND done_at IS NULL",
        )?
        .query_row(params![id, from.step as i64, from.cursor, to.step as i64, to.cursor], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((report, is_again)) = found else { return Ok(()) };
    let mut erased = stored::counts(&report);
    if is_again {
        return remove::rows(connection, bodies, part, &mut erased);
    }
    remove::rows(connection, bodies, part, &mut erased)?;
    let report = serde_json::to_string(&erased).unwrap_or_default();
    let done_at = (to.step == EraseStep::Done).then_some(at.0);
    connection
        .prepare_cached(
            "UPDATE erasures SET step = ?2, cursor = ?3, report = ?4, done_at = ?5 WHERE id = ?1",
        )?
        .execute(params![id, to.step as i64, to.cursor, report, done_at])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::calls::{ErasePlace, ErasedRows};
    use crate::hooks::{HookTable, Tenant};
    use crate::ids::DeliveryId;
    use crate::outbox::sqlite::schema::in_memory;
    use crate::outbox::sqlite::sessions;
    use crate::time::UnixMillis;
    use crate::wire::ErasedCounts;

    /// A store with these rows, of which all events are digested.
    fn store(rows: &str) -> Connection {
        let store = in_memory();
        let hooks = "INSERT INTO hooks (host, tenant, url, layer, version) VALUES \
                     ('a.example', 'acme', '', 'file', 1), ('g.example', 'globex', '', 'file', 1); \
                     UPDATE progress SET digested = 1000;";
        store.execute_batch(&format!("{hooks} {rows}")).expect("rows");
        store
    }

    /// Erases rows of a tenant, up to the step that clears pages.
    fn erase(store: &Connection, tenant: &str, at: i64) -> ErasedCounts {
        let tenant = Tenant::new(tenant).expect("a name");
        begin(store, &tenant, UnixMillis(at), DeliveryId(1000), 0).expect("begun");
        let own = OwnDomains::read(store, &tenant, Arc::new(HookTable::default())).expect("domains");
        loop {
            let erasure = next(store).expect("an erasure").expect("one under way");
            if erasure.place.step == EraseStep::Pages {
                store.execute("UPDATE erasures SET done_at = 1", []).expect("done");
                return erasure.erased;
            }
            let part = plan(store, &erasure, &own, UnixMillis(at)).expect("a plan").expect("a part");
            run(store, &mut Bodies::default(), &part).expect("erased");
        }
    }

    fn list(store: &Connection, sql: &str) -> Option<String> {
        store.query_row(sql, [], |row| row.get(0)).expect("a list")
    }

    #[test]
    fn facts_go_with_their_event_and_without_one_by_their_headers_or_their_call() {
        let store = store(
            "INSERT INTO events (seq, id, event, received_at, outcome, size, state, call, tenant) VALUES \
             (1, 'EV_1', 'participant_joined', 1, 'no_domain', 1, 3, 'RM_own', NULL), \
             (2, 'EV_2', 'participant_joined', 1, 'domain', 1, 1, 'RM_3', 'globex'); \
             INSERT INTO calls (call, tenant, hook, began_at, seen_at) VALUES ('RM_own', 'acme', 1, 1, 1); \
             INSERT INTO participants (call, participant, domain) VALUES \
             ('RM_1', 'PA_1', 'a.example'), ('RM_2', 'PA_1', 'b.example'); \
             INSERT INTO facts (n, seq, received_at, outcome, sip, tenant, call, x_to_ip) VALUES \
             (1, 1, 1, 'no_domain', 1, NULL, 'RM_own', NULL), (2, 2, 1, 'domain', 1, 'globex', 'RM_3', 'g.example'), \
             (3, 10, 1, 'no_hook', 1, NULL, 'RM_9', 'a.example'), (4, 11, 1, 'no_hook', 1, NULL, 'RM_9', 'b.example'), \
             (5, 12, 1, 'no_domain', 1, NULL, 'RM_own', NULL), (6, 13, 1, 'no_domain', 1, NULL, 'RM_1', NULL), \
             (7, 14, 1, 'no_domain', 1, NULL, 'RM_2', NULL), (8, 15, 1, 'domain', 1, 'acme', 'RM_8', NULL)",
        );
        let erased = erase(&store, "acme", 100);
        assert_eq!((erased.facts, erased.unrouted), (5, 1));
        assert_eq!(list(&store, "SELECT group_concat(n) FROM facts").as_deref(), Some("2,4,7"));
    }

    #[test]
    fn the_name_of_an_erased_call_goes_with_its_end_or_with_the_last_tenant_that_has_it() {
        let store = store(
            "INSERT INTO calls (call, room, tenant, hook, shared, began_at, seen_at, finished_at) VALUES \
             ('RM_live', 'live', 'acme', 1, 0, 1, 1, NULL), ('RM_over', 'over', 'acme', 1, 0, 1, 1, 1), \
             ('RM_shared', 'both', 'acme', 1, 1, 1, 1, 1), ('RM_new', 'new', 'acme', 1, 0, 200, 200, NULL); \
             INSERT INTO participants (call, participant, hook, tenant) VALUES ('RM_shared', 'PA_1', 2, 'globex')",
        );
        let names = || {
            let rooms = "SELECT group_concat(coalesce(room, '-')) FROM (SELECT * FROM calls ORDER BY call)";
            list(&store, rooms).expect("calls")
        };
        assert_eq!(erase(&store, "acme", 100).bare_calls, 2);
        assert_eq!(names(), "live,new,both");
        for call in ["RM_live", "RM_new"] {
            sessions::finish(&store, call, UnixMillis(300)).expect("finished");
        }
        assert_eq!(names(), "-,new,both");
        erase(&store, "globex", 400);
        assert_eq!(names(), "-,new,-");
    }

    #[test]
    fn a_part_that_is_carried_out_again_removes_what_came_again_with_it_and_counts_it_once() {
        let store = store("");
        let tenant = Tenant::new("acme").expect("a name");
        begin(&store, &tenant, UnixMillis(100), DeliveryId(1000), 0).expect("begun");
        let (from, at) = (ErasePlace::begin(EraseStep::Waiting), UnixMillis(100));
        let to = ErasePlace { step: EraseStep::Numbers, cursor: "4711".to_owned() };
        let rows = ErasedRows::Numbers { gone: vec!["4711".to_owned()], moved: Vec::new() };
        let part =
            ErasePart { id: 1, tenant, from, to, rows, shared: vec![("RM_1".into(), "globex".into())], at };
        for _ in 0..2 {
            // A call that was decided in the same batch.
            let called = "INSERT INTO numbers (number, domain, seen_at) VALUES ('4711', 'a.example', 100)";
            store.execute(called, []).expect("a number");
            run(&store, &mut Bodies::default(), &part).expect("erased");
            assert_eq!(list(&store, "SELECT group_concat(number) FROM numbers"), None);
            let erased = next(&store).expect("an erasure").expect("one under way").erased;
            assert_eq!((erased.numbers, erased.shared_events), (1, 1));
        }
    }
}
