//! Dead letters: found, and where a replay would send them.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, params_from_iter};

use crate::access::Scope;
use crate::calls::{Replay, Shelf};
use crate::hooks::{HookTable, HostPattern};
use crate::ids::{Chain, DeliveryId};
use crate::outbox::sqlite::pending::is_whole;
use crate::registry::BodySealer;
use crate::time::UnixMillis;

/// Which dead letters are meant; what is absent restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// The event's id.
    pub id: Option<String>,
    /// The tenant's name.
    pub tenant: Option<String>,
    /// The hook's host, as the hook table spells it.
    pub host: Option<String>,
    /// Received at or after.
    pub since: Option<UnixMillis>,
    /// Received before.
    pub until: Option<UnixMillis>,
    /// Rows behind this one.
    pub after: i64,
}

impl LetterFilter {
    /// Its part of a `WHERE` within a scope, and the values.
    fn condition(&self, scope: &Scope) -> (String, Vec<Value>) {
        let mut sql = "state = 2 AND state >= 2 AND seq > ?".to_owned();
        let mut values = vec![Value::from(self.after)];
        if let Some(id) = &self.id {
            // Also a tenant's own: see `Door::key`.
            sql.push_str(" AND (events.id = ? OR (events.id > ? AND events.id < ?))");
            values.extend([id.clone(), format!("{id}@"), format!("{id}A")].map(Value::from));
        }
        let own = scope.tenant().map(|tenant| tenant.as_str().to_owned());
        let texts = [("hooks.tenant", &own), ("hooks.tenant", &self.tenant), ("hooks.host", &self.host)];
        for (column, text) in texts {
            if let Some(text) = text {
                sql.push_str(&format!(" AND {column} = ?"));
                values.push(Value::from(text.clone()));
            }
        }
        for (comparison, time) in [(">=", self.since), ("<", self.until)] {
            if let Some(time) = time {
                sql.push_str(&format!(" AND received_at {comparison} ?"));
                values.push(Value::from(time.0));
            }
        }
        (sql, values)
    }
}

/// What a replay would do.
#[derive(Clone, Debug, Default)]
pub struct ReplayPlan {
    pub(in crate::outbox) replays: Vec<Replay>,
    /// Dead letters whose tenant has no hook at their host any more.
    pub homeless: usize,
    /// Events whose bodies or rows were altered, and delivered ones whose kept bodies cannot be opened.
    pub damaged: usize,
    /// Whose the delivered events are.
    pub(in crate::outbox) tenants: BTreeSet<String>,
    /// Where the rest begins, if there is one.
    pub next: Option<i64>,
}

impl ReplayPlan {
    /// How many events it concerns.
    pub fn matched(&self) -> usize {
        self.replays.len() + self.homeless + self.damaged
    }

    /// How many of them can be sent.
    pub fn possible(&self) -> usize {
        self.replays.len()
    }

    /// The tenant of all delivered events that it concerns, if they are of one.
    pub fn tenant(&self) -> Option<&str> {
        self.tenants.first().filter(|_| self.tenants.len() == 1).map(String::as_str)
    }
}

/// Where each dead letter goes: to its tenant's present hook of the same host. Bodies are read here, so that one that
/// was altered is counted and stays a dead letter.
pub fn plan(
    connection: &Connection,
    scope: &Scope,
    (table, sealer): (&HookTable, &BodySealer),
    filter: &LetterFilter,
    limit: usize,
) -> Result<ReplayPlan> {
    let (condition, mut values) = filter.condition(scope);
    values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT seq, events.id, coalesce(call, room), hooks.host, hooks.tenant, sequence, size FROM events JOIN hooks ON hooks.id = hook \
         WHERE {condition} ORDER BY seq LIMIT ?"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut plan, mut found, mut last) = (ReplayPlan::default(), 0, 0);
    while let Some(row) = rows.next()? {
        (found, last) = (found + 1, row.get(0)?);
        match replay(row, table, Shelf::Dead)? {
            None => plan.homeless += 1,
            Some(replay) if !is_whole(connection, sealer, replay.id)? => plan.damaged += 1,
            Some(replay) => plan.replays.push(replay),
        }
    }
    plan.next = (found == limit).then_some(last);
    Ok(plan)
}

/// Where an event goes that is sent again: to the present hook of its host, if that is of the same tenant. `row`: its
/// number, id, call, host, tenant, sequence, and the size of its body.
pub fn replay(row: &Row<'_>, table: &HookTable, from: Shelf) -> Result<Option<Replay>> {
    let (host, tenant): (String, String) = (row.get(3)?, row.get(4)?);
    let hook = HostPattern::parse(&host).ok().and_then(|host| table.by_host(&host).cloned());
    let Some(hook) = hook.filter(|hook| hook.tenant.as_str() == tenant) else { return Ok(None) };
    let call: Option<String> = row.get(2)?;
    let call = call.map_or_else(|| row.get::<_, String>(1), Ok)?;
    let chain = Chain::new(hook.id, &call);
    let sequence = row.get::<_, Option<i64>>(5)?.unwrap_or_default();
    let bytes = row.get::<_, i64>(6)?.try_into().unwrap_or(u32::MAX);
    let id = DeliveryId(row.get(0)?);
    Ok(Some(Replay { id, from, hook: hook.id, chain, sequence, bytes, paused_before: 0 }))
}
