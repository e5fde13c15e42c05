//! What became of an event.

use rusqlite::{Connection, OptionalExtension, Result, Row};
use serde::Serialize;

use crate::calls::Shelf;
use crate::route;
use crate::time::UnixMillis;

/// All that is known of one event.
#[derive(Debug, Serialize)]
pub struct EventStory {
    /// Its row.
    #[serde(skip)]
    pub seq: i64,
    pub id: String,
    pub event: String,
    pub call: Option<String>,
    pub room: Option<String>,
    /// The participant's identity.
    pub who: Option<String>,
    /// RFC 3339, as all times here.
    pub received_at: String,
    pub domain: Option<String>,
    /// `pending`, `delivered`, `dead`, `unrouted` or `held`.
    pub state: &'static str,
    /// The rule that routed it.
    pub rule: Option<String>,
    /// Why it is unrouted, or why it was given up.
    pub reason: Option<String>,
    pub tenant: Option<String>,
    pub host: Option<String>,
    /// Where it was posted to, or is to be; without its query.
    pub url: Option<String>,
    pub sequence: Option<i64>,
    /// How often it was tried.
    pub tries: u32,
    /// How long it waited for its call.
    pub held_ms: Option<i64>,
    /// When it was last sent again because an operator asked for it.
    pub replayed_at: Option<String>,
    /// What it was before: `dead`, `unrouted` or `held`.
    pub before_state: Option<&'static str>,
    /// Why it was that.
    pub before_reason: Option<String>,
    /// When it had been given up, if it was a dead letter before.
    pub dead_at: Option<String>,
    /// From its arrival until it was delivered or given up.
    pub total_ms: Option<i64>,
    /// When it is tried again.
    pub due: Option<String>,
    /// Since when its hook is paused, if that is why it waits.
    pub paused_since: Option<String>,
    /// `gone`: its receiver answered 410; `file`: the hooks file pauses it.
    pub paused_by: Option<String>,
    pub attempts: Vec<AttemptStory>,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub struct AttemptStory {
    pub number: u32,
    pub at: String,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub latency_ms: f64,
    /// Where it was posted to, without its query.
    pub url: Option<String>,
}

/// What [`read_story`] reads.
const STORY: &str = "SELECT seq, events.id, event, events.call, events.room, received_at, domain, outcome, state, \
     hooks.tenant, hooks.host, coalesce(bound_url, hooks.url), sequence, due, dead_reason, attempts, attempted_at, status, fault, \
     latency_us, paused_at, who, freed_at, settled_at, replayed_at, before_reason, dead_at, paused_by, \
     coalesce((SELECT url FROM attempts WHERE attempts.seq = events.seq AND number = events.attempts), bound_url) \
     FROM events LEFT JOIN hooks ON hooks.id = events.hook";

/// The events of a call between two rows, in order of arrival, each with its last attempt; at most `limit`.
/// `key`: the session's, or the room's name's.
pub fn of_call(
    connection: &Connection,
    key: &str,
    (from, to): (i64, i64),
    limit: usize,
) -> Result<Vec<EventStory>> {
    connection
        .prepare_cached(&format!(
            "{STORY} WHERE seq BETWEEN ?2 AND ?3 AND (call = ?1 OR (call IS NULL AND room = ?1)) \
             ORDER BY seq LIMIT ?4"
        ))?
        .query_map((key, from, to, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
            let (mut story, last) = read_story(row)?;
            story.attempts.extend(last);
            Ok(story)
        })?
        .collect()
}

/// The story of the event with this id: the platform's, else a tenant's own of that name.
pub fn story(connection: &Connection, id: &str) -> Result<Option<EventStory>> {
    let found = connection
        .prepare_cached(&format!(
            "{STORY} WHERE events.id = ?1 OR (events.id > ?1 || '@' AND events.id < ?1 || 'A') \
             ORDER BY events.id LIMIT 1"
        ))?
        .query_row([id], |row| Ok((row.get::<_, i64>(0)?, read_story(row)?)))
        .optional()?;
    let Some((seq, (mut story, last))) = found else { return Ok(None) };
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
    Ok(Some(story))
}

fn read_story(row: &Row<'_>) -> Result<(EventStory, Option<AttemptStory>)> {
    let outcome: String = row.get(7)?;
    let state = match row.get::<_, i64>(8)? {
        shelf if shelf == Shelf::Pending as i64 => "pending",
        shelf if shelf == Shelf::Delivered as i64 => "delivered",
        shelf if shelf == Shelf::Dead as i64 => "dead",
        shelf if shelf == Shelf::Held as i64 => "held",
        _ => "unrouted",
    };
    let replayed_at: Option<i64> = row.get(24)?;
    let before_reason: Option<String> = row.get(25)?;
    let dead_at: Option<i64> = row.get(26)?;
    let (rule, unrouted) =
        if matches!(state, "unrouted" | "held") { (None, Some(outcome)) } else { (Some(outcome), None) };
    let time = |millis: i64| UnixMillis(millis).to_string();
    let received_at: i64 = row.get(5)?;
    let since = |at: Option<i64>| at.map(|at| (at - received_at).max(0));
    let tried = row.get::<_, u32>(15)? > 0;
    // A dead letter that is replayed goes where its hook leads now; its last attempt did not.
    let last = if tried { Some(AttemptStory { url: url(row, 28)?, ..read_attempt(row, 15)? }) } else { None };
    let story = EventStory {
        seq: row.get(0)?,
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
        before_state: replayed_at.map(|_| state_before(dead_at, before_reason.as_deref())),
        before_reason,
        dead_at: dead_at.map(time),
        total_ms: since(row.get(23)?),
        due: row.get::<_, Option<i64>>(13)?.map(time),
        paused_since: row.get::<_, Option<i64>>(20)?.filter(|_| state == "pending").map(time),
        paused_by: row.get::<_, Option<String>>(27)?.filter(|_| state == "pending"),
        attempts: Vec::new(),
    };
    Ok((story, last))
}

/// What a replayed event was before.
fn state_before(dead_at: Option<i64>, reason: Option<&str>) -> &'static str {
    match (dead_at, reason) {
        (Some(_), _) => "dead",
        (None, Some("held")) => "held",
        (None, _) => "unrouted",
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
