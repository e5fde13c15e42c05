//! What routing read of SIP participants' events, kept longer than the events, so that a new hook table can be tried
//! on past calls: the table `facts`.

use std::time::Duration;

use rusqlite::{Connection, Result, Row};

use crate::calls::{DigestPart, FactSpan, KeptFact, Sweep, Went};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::sqlite::events::facts;
use crate::time::{UnixMillis, millis};

/// At most this many rows are kept, whatever their age: about 1 GB.
const KEPT: i64 = 5_000_000;

/// What [`fact`] reads, of `facts` or of `events`.
const COLUMNS: &str = "seq, call, outcome, hook, received_at, tenant, space, by_url, participant, sip, x_to_ip, \
                       to_header, number, trunk";

/// Copies what routing read of the events of a part.
pub fn copy(connection: &Connection, part: DigestPart) -> Result<()> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO facts ({COLUMNS}) SELECT {COLUMNS} FROM events \
             WHERE seq > ?1 AND seq <= ?2 AND sip IS NOT NULL ORDER BY seq"
        ))?
        .execute([part.after, part.up_to])
        .map(drop)
}

/// An event has another outcome, or another tenant: so have its facts. Those of an event whose row is gone stay.
pub fn correct(connection: &Connection, id: DeliveryId) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE facts SET outcome = events.outcome, hook = events.hook, call = events.call, \
             tenant = events.tenant FROM events WHERE events.seq = ?1 AND facts.seq = ?1",
        )?
        .execute([id.0])
        .map(drop)
}

/// Plans what is removed: older than `keep`, or too many.
pub fn plan(connection: &Connection, now: UnixMillis, keep: Duration) -> Result<FactSpan> {
    let before = now.0.saturating_sub(millis(keep));
    let (first, last) = ends(connection)?;
    let surplus = (last - KEPT).max(first - 1);
    let rows = Sweep::ROWS as i64;
    let mut ages =
        connection.prepare_cached("SELECT n, received_at FROM facts WHERE n >= ?1 ORDER BY n LIMIT ?2")?;
    let mut ages = ages.query([first, rows])?;
    let mut up_to = first - 1;
    while let Some(row) = ages.next()? {
        let (n, received_at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if n > surplus && received_at >= before {
            break;
        }
        up_to = n;
    }
    Ok(FactSpan { after: first - 1, up_to, last_seq: last_seq(connection)? })
}

/// The oldest rows, at most `count`, whatever their age: of a store over its limit.
pub fn oldest(connection: &Connection, count: usize) -> Result<FactSpan> {
    let (first, last) = ends(connection)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let up_to = (first - 1).saturating_add(count).min(last);
    Ok(FactSpan { after: first - 1, up_to, last_seq: last_seq(connection)? })
}

/// Removes what was planned.
pub fn remove(connection: &Connection, span: FactSpan) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM facts WHERE n > ?1 AND n <= ?2 AND seq <= ?3")?
        .execute([span.after, span.up_to, span.last_seq])
        .map(drop)
}

/// Whether the database has facts: those of releases before this one have none.
pub fn are_kept(connection: &Connection) -> Result<bool> {
    connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'facts'")?.exists([])
}

/// A page of facts behind a number, in order of arrival; and its last number. None: there are no more.
pub fn page(connection: &Connection, after: i64, limit: i64) -> Result<Option<(Vec<KeptFact>, i64)>> {
    let mut facts = connection
        .prepare_cached(&format!("SELECT {COLUMNS}, n FROM facts WHERE n > ?1 ORDER BY n LIMIT ?2"))?;
    let page = facts.query_map([after, limit], |row| Ok((fact(row)?, row.get::<_, i64>(NEXT)?)))?;
    let (facts, numbers): (Vec<_>, Vec<_>) = page.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok(numbers.last().map(|last| (facts, *last)))
}

/// The same of the events behind a row, which are too young to have facts.
pub fn young(connection: &Connection, after: i64, limit: i64) -> Result<Option<(Vec<KeptFact>, i64)>> {
    let last = "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2)";
    let last: Option<i64> = connection.prepare_cached(last)?.query_row([after, limit], |row| row.get(0))?;
    let Some(last) = last else { return Ok(None) };
    let page = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events WHERE seq > ?1 AND seq <= ?2 AND sip IS NOT NULL ORDER BY seq"
        ))?
        .query_map([after, last], fact)?
        .collect::<Result<_>>()?;
    Ok(Some((page, last)))
}

/// Whether a call is in progress.
pub fn is_live(connection: &Connection, call: &str) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM calls WHERE call = ?1 AND finished_at IS NULL")?.exists([call])
}

/// The column behind [`COLUMNS`].
const NEXT: usize = 14;

fn fact(row: &Row<'_>) -> Result<KeptFact> {
    let hook = row.get::<_, Option<i64>>(3)?.map(HookId);
    Ok(KeptFact {
        seq: row.get(0)?,
        received_at: UnixMillis(row.get(4)?),
        call: row.get(1)?,
        went: Went::stored(row.get(5)?, row.get_ref(2)?.as_str()?, hook),
        door: facts::door(row, 5)?,
        facts: facts::read(row, 8)?,
    })
}

/// The first and the last row.
fn ends(connection: &Connection) -> Result<(i64, i64)> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT min(n) FROM facts), 1), coalesce((SELECT max(n) FROM facts), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The last event that has facts.
fn last_seq(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM facts")?.query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    fn fill(store: &Connection, rows: i64) {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             INSERT INTO events (id, event, received_at, outcome, size, state, call, tenant, participant, sip, x_to_ip) \
             SELECT 'EV_' || i, 'participant_joined', i, 'domain', 1, 1, 'RM_' || i, iif(i % 2, 'acme', NULL), \
             'PA_' || i, iif(i % 5, NULL, 1), 'calls.acme.example' FROM n"
        );
        store.execute_batch(&sql).expect("rows");
    }

    #[test]
    fn facts_of_sip_participants_are_kept_and_read_in_order_and_those_too_young_are_read_from_the_events() {
        let store = in_memory();
        fill(&store, 20);
        copy(&store, DigestPart { after: 0, up_to: 12 }).expect("copied");
        let seqs = |page: Option<(Vec<KeptFact>, i64)>| {
            page.map(|(facts, last)| (facts.iter().map(|fact| fact.seq).collect::<Vec<_>>(), last))
        };
        assert_eq!(seqs(page(&store, 0, 100).expect("facts")), Some((vec![5, 10], 2)));
        assert_eq!(seqs(page(&store, 2, 100).expect("facts")), None);
        assert_eq!(seqs(young(&store, 12, 5).expect("events")), Some((vec![15], 17)));
        assert_eq!(seqs(young(&store, 17, 5).expect("events")), Some((vec![20], 20)));
        assert_eq!(seqs(young(&store, 20, 5).expect("events")), None);
        store.execute("UPDATE events SET tenant = 'globex' WHERE seq = 10", []).expect("replayed");
        correct(&store, DeliveryId(10)).expect("noted");
        let (facts, _) = page(&store, 0, 100).expect("facts").expect("a page");
        let tenants: Vec<_> = facts.iter().map(|fact| fact.went.tenant()).collect();
        assert_eq!(tenants, [Some("acme"), Some("globex")]);
    }

    #[test]
    fn what_is_past_its_time_is_planned_from_the_oldest_on() {
        let store = in_memory();
        assert!(plan(&store, UnixMillis(0), Duration::ZERO).expect("a plan").is_empty());
        fill(&store, 50);
        copy(&store, DigestPart { after: 0, up_to: 50 }).expect("copied");
        let keep = Duration::from_millis(10);
        assert!(plan(&store, UnixMillis(15), keep).expect("a plan").is_empty());
        let span = plan(&store, UnixMillis(36), keep).expect("a plan");
        assert_eq!(span, FactSpan { after: 0, up_to: 5, last_seq: 50 });
        remove(&store, span).expect("removed");
        assert_eq!(oldest(&store, 3).expect("a plan"), FactSpan { after: 5, up_to: 8, last_seq: 50 });
        assert_eq!(oldest(&store, 300).expect("a plan"), FactSpan { after: 5, up_to: 10, last_seq: 50 });
    }

    #[test]
    fn a_removal_that_is_stored_twice_spares_what_came_after_it() {
        let store = in_memory();
        fill(&store, 20);
        copy(&store, DigestPart { after: 0, up_to: 10 }).expect("copied");
        let span = oldest(&store, 100).expect("a plan");
        remove(&store, span).expect("removed");
        copy(&store, DigestPart { after: 10, up_to: 20 }).expect("copied");
        remove(&store, span).expect("removed again");
        let left: i64 = store.query_row("SELECT count(*) FROM facts", [], |row| row.get(0)).expect("a count");
        assert_eq!(left, 2);
    }

    #[test]
    fn of_too_many_facts_the_oldest_go() {
        let store = in_memory();
        fill(&store, 15);
        copy(&store, DigestPart { after: 0, up_to: 15 }).expect("copied");
        let forever = Duration::from_secs(3600);
        store.execute("UPDATE facts SET n = ?1 WHERE n = 3", [KEPT]).expect("as many as may be");
        assert!(plan(&store, UnixMillis(0), forever).expect("a plan").is_empty());
        store.execute("UPDATE facts SET n = n + 1 WHERE n = ?1", [KEPT]).expect("one more");
        assert_eq!(
            plan(&store, UnixMillis(0), forever).expect("a plan"),
            FactSpan { after: 0, up_to: 1, last_seq: 15 }
        );
    }
}
