//! What became of an event.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, Statement};

use super::walk::RowRange;
use crate::access::Scope;
use crate::calls::Shelf;
use crate::hooks::Tenant;
use crate::route;
use crate::time::UnixMillis;
use crate::wire::{AttemptStory, EventState, EventStory, PauseCause};

/// What [`read_story`] reads.
const STORY: &str = "SELECT seq, events.id, event, events.call, events.room, received_at, domain, outcome, state, \
     hooks.tenant, hooks.host, coalesce(bound_url, hooks.url), sequence, due, dead_reason, attempts, attempted_at, status, fault, \
     latency_us, paused_at, who, freed_at, settled_at, replayed_at, before_reason, dead_at, paused_by, \
     coalesce((SELECT url FROM attempts WHERE attempts.seq = events.seq AND number = events.attempts), bound_url), \
     (SELECT until FROM kept_bodies WHERE kept_bodies.seq = events.seq AND in_use = 0) \
     FROM events LEFT JOIN hooks ON hooks.id = events.hook";

/// Reads the stories of rows between two numbers that pass a condition, the newest first. Within a tenant's scope, its
/// own.
pub struct Stories<'c> {
    connection: &'c Connection,
    statement: Statement<'c>,
}

impl<'c> Stories<'c> {
    /// `condition`: what a `WHERE` says of `events` and `hooks`, with values from `?4` on.
    pub fn new(connection: &'c Connection, condition: &str, values: &[Value]) -> Result<Self> {
        let sql = format!("{STORY} WHERE seq BETWEEN ?1 AND ?2 AND {condition} ORDER BY seq DESC LIMIT ?3");
        let mut statement = connection.prepare(&sql)?;
        for (place, value) in (4..).zip(values) {
            statement.raw_bind_parameter(place, value)?;
        }
        Ok(Self { connection, statement })
    }

    /// At most `limit` of the rows from the first to the last, with their numbers.
    pub fn read(&mut self, (first, last): RowRange, limit: usize) -> Result<Vec<ListedStory>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        for (place, value) in (1..).zip([first, last, limit]) {
            self.statement.raw_bind_parameter(place, value)?;
        }
        let mut rows = self.statement.raw_query();
        let mut stories = Vec::new();
        while let Some(row) = rows.next()? {
            let (story, last) = read_story(row)?;
            stories.push(ListedStory { seq: row.get(0)?, story, last });
        }
        Ok(stories)
    }

    /// The story with all of its attempts.
    pub fn with_attempts(&self, ListedStory { seq, story, last }: ListedStory) -> Result<EventStory> {
        with_attempts(self.connection, seq, story, last)
    }
}

/// A story of a list.
pub struct ListedStory {
    pub seq: i64,
    story: EventStory,
    last: Option<AttemptStory>,
}

impl ListedStory {
    /// The story with its last attempt.
    pub fn with_last(mut self) -> EventStory {
        self.story.attempts.extend(self.last);
        self.story
    }
}

/// The story of the event with this id: the platform's, else a tenant's own of that name.
pub fn story(connection: &Connection, scope: &Scope, id: &str) -> Result<Option<EventStory>> {
    let tenant = scope.tenant().map(Tenant::as_str);
    let mut candidates = connection.prepare_cached(&format!(
        "{STORY} WHERE (events.id = ?1 OR (events.id > ?1 || '@' AND events.id < ?1 || 'A')) \
         AND (?2 IS NULL OR hooks.tenant = ?2 OR hooks.tenant IS NULL) ORDER BY events.id"
    ))?;
    let mut candidates = candidates.query((id, tenant))?;
    while let Some(row) = candidates.next()? {
        let key: String = row.get(1)?;
        let (mut story, last) = read_story(row)?;
        if story.tenant.is_none() && !sees_unrouted(scope, &key, story.domain.as_deref()) {
            continue;
        }
        if story.tenant.is_none() && is_anothers_call(connection, scope, row.get(3)?)? {
            (story.call, story.room) = (None, None);
        }
        return with_attempts(connection, row.get(0)?, story, last).map(Some);
    }
    Ok(None)
}

/// Whether an event that no hook has may be seen. `key`: the event's, its call's or its room's.
pub fn sees_unrouted(scope: &Scope, key: &str, domain: Option<&str>) -> bool {
    scope.sees_unrouted(route::space(key), domain)
}

/// Whether a session is bound to another tenant than the scope's.
fn is_anothers_call(connection: &Connection, scope: &Scope, session: Option<String>) -> Result<bool> {
    let (Some(tenant), Some(session)) = (scope.tenant(), session) else { return Ok(false) };
    connection
        .prepare_cached(
            "SELECT 1 FROM calls JOIN hooks ON hooks.id = calls.hook WHERE call = ?1 AND hooks.tenant <> ?2",
        )?
        .exists((session, tenant.as_str()))
}

fn with_attempts(
    connection: &Connection,
    seq: i64,
    mut story: EventStory,
    last: Option<AttemptStory>,
) -> Result<EventStory> {
    story.attempts = connection
        .prepare_cached(
            "SELECT number, at, status, fault, latency_us, url FROM attempts WHERE seq = ?1 ORDER BY number",
        )?
        .query_map([seq], |row| Ok(AttemptStory { url: row.get(5)?, ..read_attempt(row, 0)? }))?
        .collect::<Result<_>>()?;
    // A failed attempt has a row in `attempts`; a successful one is only in the event's row.
    if story.attempts.last().map(|attempt| attempt.number) != last.as_ref().map(|last| last.number) {
        story.attempts.extend(last);
    }
    Ok(story)
}

fn read_story(row: &Row<'_>) -> Result<(EventStory, Option<AttemptStory>)> {
    let outcome: String = row.get(7)?;
    let state = match row.get::<_, i64>(8)? {
        shelf if shelf == Shelf::Pending as i64 => EventState::Pending,
        shelf if shelf == Shelf::Delivered as i64 => EventState::Delivered,
        shelf if shelf == Shelf::Dead as i64 => EventState::Dead,
        shelf if shelf == Shelf::Held as i64 => EventState::Held,
        _ => EventState::Unrouted,
    };
    let replayed_at: Option<i64> = row.get(24)?;
    let before_reason: Option<String> = row.get(25)?;
    let dead_at: Option<i64> = row.get(26)?;
    let (rule, unrouted) = if matches!(state, EventState::Unrouted | EventState::Held) {
        (None, Some(outcome))
    } else {
        (Some(outcome), None)
    };
    let time = |millis: i64| UnixMillis(millis).to_string();
    let received_at: i64 = row.get(5)?;
    let since = |at: Option<i64>| at.map(|at| (at - received_at).max(0));
    let tried = row.get::<_, u32>(15)? > 0;
    // A dead letter that is replayed goes where its hook leads now; its last attempt did not.
    let last = if tried { Some(AttemptStory { url: url(row, 28)?, ..read_attempt(row, 15)? }) } else { None };
    let paused_by = row.get::<_, Option<String>>(27)?.filter(|_| state == EventState::Pending);
    let before_state = replayed_at.map(|_| state_before(dead_at, before_reason.as_deref()));
    // What had been delivered already is sent again: how long ago it came is no delay.
    let counted_from =
        replayed_at.filter(|_| before_state == Some(EventState::Delivered)).unwrap_or(received_at);
    let story = EventStory {
        id: named(&row.get::<_, String>(1)?),
        event: row.get(2)?,
        call: row.get::<_, Option<String>>(3)?.map(|key| named(&key)),
        room: row.get::<_, Option<String>>(4)?.map(|key| named(&key)),
        received_at: time(received_at),
        who: row.get(21)?,
        domain: row.get(6)?,
        state,
        rule,
        reason: unrouted.or(row.get(14)?),
        tenant: row.get(9)?,
        host: row.get(10)?,
        url: url(row, 11)?,
        sequence: row.get(12)?,
        tries: row.get(15)?,
        held_ms: since(row.get::<_, Option<i64>>(22)?.filter(|_| replayed_at.is_none())),
        replayed_at: replayed_at.map(time),
        before_state,
        before_reason: before_reason.filter(|reason| reason != DELIVERED),
        dead_at: dead_at.map(time),
        kept_until: row.get::<_, Option<i64>>(29)?.map(time),
        total_ms: row.get::<_, Option<i64>>(23)?.map(|at| (at - counted_from).max(0)),
        due: row.get::<_, Option<i64>>(13)?.map(time),
        paused_since: row.get::<_, Option<i64>>(20)?.filter(|_| state == EventState::Pending).map(time),
        paused_by: paused_by.as_deref().and_then(PauseCause::named),
        attempts: Vec::new(),
    };
    Ok((story, last))
}

/// What `before_reason` holds of an event that had been delivered.
const DELIVERED: &str = "delivered";

/// What a replayed event was before.
fn state_before(dead_at: Option<i64>, reason: Option<&str>) -> EventState {
    match (dead_at, reason) {
        (Some(_), _) => EventState::Dead,
        (None, Some("held")) => EventState::Held,
        (None, Some(DELIVERED)) => EventState::Delivered,
        (None, _) => EventState::Unrouted,
    }
}

/// A URL without its query.
fn url(row: &Row<'_>, column: usize) -> Result<Option<String>> {
    let url: Option<String> = row.get(column)?;
    Ok(url.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned()))
}

/// A key without its space.
fn named(key: &str) -> String {
    route::name(key).to_owned()
}

fn read_attempt(row: &Row<'_>, first: usize) -> Result<AttemptStory> {
    Ok(AttemptStory {
        number: row.get(first)?,
        at: UnixMillis(row.get(first + 1)?).to_string(),
        status: row.get(first + 2)?,
        error: row.get(first + 3)?,
        latency_ms: row.get::<_, f64>(first + 4)? / 1000.0,
        url: None,
    })
}
