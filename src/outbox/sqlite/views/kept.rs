//! Delivered events whose bodies are kept: where they would go if they were sent again.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params, params_from_iter};

use super::letters::{ReplayPlan, replay};
use crate::access::Scope;
use crate::calls::{Replay, Shelf};
use crate::hooks::{HookTable, Tenant};
use crate::ids::{DeliveryId, EventId};
use crate::registry::BodySealer;
use crate::route::{self, Door};
use crate::time::{UnixMillis, millis};

/// Which kept events are meant; what is absent restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct KeptFilter {
    /// The event's id.
    pub id: Option<String>,
    /// The call, by its room's sid, or by its room's name as long as the call is known by that.
    pub call: Option<String>,
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

impl KeptFilter {
    /// Its part of a `WHERE` within a scope, and the values. `call`: the call's key.
    fn condition(&self, scope: &Scope, call: Option<String>, now: UnixMillis) -> (String, Vec<Value>) {
        let mut sql = "in_use = 0 AND state = 1 AND kept_bodies.until > ? AND seq > ?".to_owned();
        let mut values = vec![Value::from(now.0), Value::from(self.after)];
        let mut add = |condition: &str, value: Option<Value>| {
            if let Some(value) = value {
                sql.push_str(&format!(" AND {condition} ?"));
                values.push(value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let own = scope.tenant().map(|tenant| Value::from(tenant.as_str().to_owned()));
        for column in ["kept_bodies.tenant =", "hooks.tenant ="] {
            add(column, own.clone());
            add(column, text(&self.tenant));
        }
        add("hooks.host =", text(&self.host));
        add("kept_bodies.call =", call.map(Value::from));
        add("received_at >=", self.since.map(|time| Value::from(time.0)));
        add("received_at <", self.until.map(|time| Value::from(time.0)));
        if let Some(id) = &self.id {
            // Also a tenant's own: see `Door::key`.
            sql.push_str(" AND (events.id = ? OR (events.id > ? AND events.id < ?))");
            values.extend([id.clone(), format!("{id}@"), format!("{id}A")].map(Value::from));
        }
        (sql, values)
    }
}

/// What sending kept events again would do: at most `limit`, in order. Bodies are opened here, so that one that cannot
/// be is counted and stays as it is.
pub fn plan(
    connection: &Connection,
    scope: &Scope,
    (table, sealer): (&HookTable, &BodySealer),
    filter: &KeptFilter,
    (limit, now): (usize, UnixMillis),
) -> Result<ReplayPlan> {
    let mut plan = ReplayPlan::default();
    let call = match &filter.call {
        None => None,
        Some(name) => match call_of(connection, scope, name)? {
            None => return Ok(plan),
            call => call,
        },
    };
    let (condition, mut values) = filter.condition(scope, call, now);
    values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare(&format!(
        "SELECT seq, events.id, coalesce(events.call, room), hooks.host, hooks.tenant, sequence, kept_bodies.size, \
         at, body FROM kept_bodies JOIN events USING (seq) JOIN hooks ON hooks.id = events.hook \
         WHERE {condition} ORDER BY seq LIMIT ?"
    ))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        found += 1;
        plan.next = Some(row.get(0)?);
        plan.tenants.insert(row.get(4)?);
        match replay(row, table, Shelf::Delivered)? {
            None => plan.homeless += 1,
            Some(replay) if is_past(row, table, &replay, now)? => {}
            Some(_) if !opens(row, sealer)? => plan.damaged += 1,
            Some(replay) => plan.replays.push(replay),
        }
    }
    plan.next = plan.next.filter(|_| found == limit);
    Ok(plan)
}

/// Whether its hook has kept it for as long as it keeps bodies by now: the sweeper has not come yet.
fn is_past(row: &Row<'_>, table: &HookTable, replay: &Replay, now: UnixMillis) -> Result<bool> {
    let keep = table.by_id(replay.hook).map(|hook| hook.settings.keep).unwrap_or_default();
    Ok(row.get::<_, i64>(7)?.saturating_add(millis(keep)) <= now.0)
}

fn opens(row: &Row<'_>, sealer: &BodySealer) -> Result<bool> {
    let event_id = EventId::stored(route::name(&row.get::<_, String>(1)?));
    Ok(sealer.open(DeliveryId(row.get(0)?), event_id.as_str(), row.get_ref(8)?.as_blob()?).is_some())
}

/// The key of a call of which something is kept: the platform's of this name, else the one with exactly this key
/// (`name@tenant`), else a tenant's own.
fn call_of(connection: &Connection, scope: &Scope, name: &str) -> Result<Option<String>> {
    let own = scope.tenant().map(Tenant::as_str);
    let platform = Door::Platform.key(name);
    let by_sid = "SELECT call FROM kept_bodies WHERE (?2 IS NULL OR tenant = ?2) AND call";
    let by_name = "SELECT call FROM calls WHERE EXISTS (SELECT 1 FROM kept_bodies WHERE kept_bodies.call = calls.call \
                   AND (?2 IS NULL OR kept_bodies.tenant = ?2)) AND room";
    let exactly = "= ?1";
    let of_any_tenant = "> ?1 || '@' AND call < ?1 || 'A'";
    let latest = "ORDER BY began_at DESC";
    let asked = [
        (format!("{by_sid} {exactly}"), &*platform),
        (format!("{by_sid} {exactly}"), name),
        (format!("{by_sid} {of_any_tenant}"), name),
        (format!("{by_name} {exactly} {latest}"), &*platform),
        (format!("{by_name} {exactly} {latest}"), name),
    ];
    for (sql, key) in asked {
        let mut statement = connection.prepare(&format!("{sql} LIMIT 1"))?;
        let found = statement.query_row(params![key, own], |row| row.get(0)).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
