//! Calls: found by their names, and listed.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::access::Scope;
use crate::hooks::Tenant;
use crate::route::{self, Door};
use crate::time::UnixMillis;
use crate::wire::CallStory;

/// A list looks at so many calls at most: where most are rooms without SIP, its page may be short.
const WINDOW: usize = 10_000;

/// Other sessions of a room's name are listed, at most this many.
const OTHERS: usize = 20;

/// What [`read`] reads; `?1`: the scope's tenant, or null. A tenant sees the calls that it, or a participant in them,
/// is bound to; of a shared one only its own hook, and nothing of callers who belong to nobody.
const CALL: &str = "SELECT call, room, hooks.tenant, hooks.host, \
     CASE WHEN hooks.id = calls.hook THEN calls.url ELSE (SELECT url FROM participants \
     WHERE participants.call = calls.call AND participants.hook = hooks.id LIMIT 1) END, \
     shared, sip, began_at, finished_at, CASE WHEN ?1 IS NULL THEN (SELECT count(*) FROM participants \
     WHERE participants.call = calls.call AND participants.hook IS NULL) ELSE 0 END \
     FROM calls LEFT JOIN hooks ON hooks.id = CASE WHEN ?1 IS NULL THEN calls.hook ELSE \
     (SELECT own.id FROM hooks AS own WHERE own.tenant = ?1 AND (own.id = calls.hook OR own.id IN \
     (SELECT hook FROM participants WHERE participants.call = calls.call)) LIMIT 1) END \
     WHERE (?1 IS NULL OR hooks.id IS NOT NULL)";

/// A call, and the key of its session.
pub struct FoundCall {
    pub story: CallStory,
    pub key: String,
    pub began_at: i64,
}

fn read(row: &Row<'_>) -> Result<FoundCall> {
    let key: String = row.get(0)?;
    let url: Option<String> = row.get(4)?;
    let began_at: i64 = row.get(7)?;
    let story = CallStory {
        call: route::name(&key).to_owned(),
        room: row.get::<_, Option<String>>(1)?.map(|room| route::name(&room).to_owned()),
        tenant: row.get(2)?,
        host: row.get(3)?,
        url: url.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned()),
        shared: row.get(5)?,
        sip: row.get(6)?,
        strangers: row.get(9)?,
        began_at: UnixMillis(began_at).to_string(),
        finished_at: row.get::<_, Option<i64>>(8)?.map(|at| UnixMillis(at).to_string()),
    };
    Ok(FoundCall { story, key, began_at })
}

/// Which calls a list holds.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only one tenant's.
    pub tenant: Option<String>,
    /// Also rooms without a tenant in which no SIP participant was seen.
    pub all: bool,
    /// Behind the one that began then, with this key.
    pub after: Option<(i64, String)>,
}

/// A page of calls, the newest first; and where the next page begins, if there is one.
pub fn page(
    connection: &Connection,
    scope: &Scope,
    filter: &CallFilter,
    limit: usize,
) -> Result<(Vec<CallStory>, Option<String>)> {
    let own = scope.tenant().map(Tenant::as_str);
    let candidates = match own.or(filter.tenant.as_deref()) {
        Some(tenant) if filter.tenant.as_deref().is_none_or(|asked| asked == tenant) => {
            of_tenant(connection, tenant, filter, limit)?
        }
        Some(_) => Candidates::default(),
        None => of_all(connection, filter, limit)?,
    };
    let mut story = connection.prepare(&format!("{CALL} AND call = ?2"))?;
    let mut calls = Vec::new();
    for (_, key) in &candidates.calls {
        calls.extend(story.query_row(params![own, key], read).optional()?.map(|found| found.story));
    }
    Ok((calls, candidates.rest.map(|(began_at, key)| format!("{began_at}/{key}"))))
}

/// When a call began, and the key of its session.
type Began = (i64, String);

/// Calls of a page.
#[derive(Default)]
struct Candidates {
    calls: Vec<Began>,
    /// The last one that was looked at, if more may follow.
    rest: Option<Began>,
}

/// A tenant's calls: those that are bound to it, and those in which a participant is; not those that were cut off.
fn of_tenant(connection: &Connection, tenant: &str, filter: &CallFilter, limit: usize) -> Result<Candidates> {
    let (at, key) = behind(filter);
    let calls: Vec<Began> = connection
        .prepare_cached(
            "SELECT * FROM (SELECT began_at, call FROM calls WHERE tenant = ?1 AND hook <> 0 \
             AND (began_at, call) < (?2, ?3) ORDER BY began_at DESC, call DESC LIMIT ?4) UNION \
             SELECT began_at, calls.call FROM participants CROSS JOIN calls ON calls.call = participants.call \
             WHERE participants.tenant = ?1 AND participants.hook <> 0 AND (began_at, calls.call) < (?2, ?3) \
             ORDER BY began_at DESC, call DESC LIMIT ?4",
        )?
        .query_map(params![tenant, at, key, limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let rest = calls.last().filter(|_| calls.len() == limit).cloned();
    Ok(Candidates { calls, rest })
}

/// Everybody's calls: with `all`, also rooms without SIP.
fn of_all(connection: &Connection, filter: &CallFilter, limit: usize) -> Result<Candidates> {
    let (at, key) = behind(filter);
    let mut rows = connection.prepare_cached(
        "SELECT began_at, call, sip OR hook IS NOT NULL FROM calls WHERE (began_at, call) < (?1, ?2) \
         ORDER BY began_at DESC, call DESC LIMIT ?3",
    )?;
    let mut rows = rows.query(params![at, key, WINDOW as i64])?;
    let (mut calls, mut looked_at) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let call: Began = (row.get(0)?, row.get(1)?);
        looked_at += 1;
        let is_meant = filter.all || row.get(2)?;
        if looked_at == WINDOW || (is_meant && calls.len() + 1 == limit) {
            calls.extend(is_meant.then(|| call.clone()));
            return Ok(Candidates { calls, rest: Some(call) });
        }
        calls.extend(is_meant.then_some(call));
    }
    Ok(Candidates { calls, rest: None })
}

fn behind(filter: &CallFilter) -> Began {
    filter.after.clone().unwrap_or((i64::MAX, String::new()))
}

/// Other sessions of the same room's name, the newest first.
pub fn others(connection: &Connection, scope: &Scope, key: &str) -> Result<Vec<CallStory>> {
    let own = scope.tenant().map(Tenant::as_str);
    let limit = i64::try_from(OTHERS).unwrap_or(i64::MAX);
    connection
        .prepare(&format!(
            "{CALL} AND room = (SELECT room FROM calls WHERE call = ?2) AND call <> ?2 \
             ORDER BY began_at DESC LIMIT ?3"
        ))?
        .query_map(params![own, key, limit], |row| Ok(read(row)?.story))?
        .collect()
}

/// The call of this sid, or the latest of the room with this name.
pub fn find(connection: &Connection, scope: &Scope, name: &str) -> Result<Option<FoundCall>> {
    let own = scope.tenant().map(Tenant::as_str);
    // The platform's session first, then the one with exactly this key (`name@tenant`), then any tenant's of
    // this name.
    let platform = Door::Platform.key(name);
    let (sid, room) = ("call", "room");
    for (column, key) in [(sid, &*platform), (room, &*platform), (sid, name), (room, name)] {
        let sql = format!("{CALL} AND {column} = ?2 ORDER BY began_at DESC LIMIT 1");
        let found = connection.prepare(&sql)?.query_row(params![own, key], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    for column in [sid, room] {
        let sql = format!(
            "{CALL} AND {column} > ?2 || '@' AND {column} < ?2 || 'A' ORDER BY +began_at DESC LIMIT 1"
        );
        let found = connection.prepare(&sql)?.query_row(params![own, name], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    /// The sids of all pages.
    fn listed(store: &Connection, filter: &CallFilter, limit: usize) -> Vec<Vec<String>> {
        let (mut filter, mut pages) = (filter.clone(), Vec::new());
        loop {
            let (calls, next) = page(store, &Scope::for_tests(), &filter, limit).expect("a page");
            pages.push(calls.into_iter().map(|call| call.call).collect());
            let Some(next) = next else { return pages };
            let (at, key) = next.split_once('/').expect("a cursor");
            filter.after = Some((at.parse().expect("a time"), key.to_owned()));
        }
    }

    #[test]
    fn a_page_among_rooms_without_sip_is_short_and_leads_on() {
        let store = in_memory();
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             INSERT INTO calls (call, began_at, seen_at) SELECT 'RM_' || i, i / 3, 1 FROM n; \
             UPDATE calls SET sip = 1 WHERE call IN ('RM_1', 'RM_2', 'RM_3')",
            WINDOW + 10
        );
        store.execute_batch(&fill).expect("rows");
        let pages = listed(&store, &CallFilter::default(), 2);
        assert_eq!(pages, [&[][..], &["RM_3", "RM_2"], &["RM_1"]]);
        let all = CallFilter { all: true, ..CallFilter::default() };
        assert_eq!(listed(&store, &all, 1000).concat().len(), WINDOW + 10);
    }

    #[test]
    fn a_tenants_calls_are_those_bound_to_it_and_those_with_one_of_its_participants() {
        let store = in_memory();
        let fill = "INSERT INTO hooks (id, host, tenant, url, layer, version) VALUES \
                    (1, 'a.example', 'acme', 'https://a', 'file', 1), (2, 'b.example', 'globex', 'https://b', 'file', 1); \
                    INSERT INTO calls (call, hook, tenant, began_at, seen_at) VALUES ('RM_1', 1, 'acme', 5, 5), \
                    ('RM_2', 2, 'globex', 5, 5), ('RM_3', 2, 'globex', 6, 6), ('RM_4', 1, 'acme', 7, 7); \
                    INSERT INTO participants (call, participant, hook, tenant) VALUES ('RM_3', 'PA_1', 1, 'acme'), \
                    ('RM_3', 'PA_2', 1, 'acme'), ('RM_4', 'PA_3', 1, 'acme')";
        store.execute_batch(fill).expect("rows");
        for limit in 1..4 {
            let filter = CallFilter { tenant: Some("acme".into()), ..CallFilter::default() };
            assert_eq!(listed(&store, &filter, limit).concat(), ["RM_4", "RM_3", "RM_1"], "{limit}");
        }
    }
}
