//! The list of deliveries, the newest first.

use rusqlite::types::Value;
use rusqlite::{Connection, Result};

use super::event::Stories;
use super::marked::Marked;
use super::sessions::keys_of;
use super::walk::{Walk, first_since};
use crate::access::Scope;
use crate::hooks::Tenant;
use crate::outbox::sqlite::digest::index::EventKey;
use crate::time::UnixMillis;
use crate::wire::{DeliveryList, DeliveryState};

/// Which deliveries are meant; what is absent restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// The event's id.
    pub id: Option<String>,
    /// The tenant's name.
    pub tenant: Option<String>,
    /// The hook's host, as the hook table spells it.
    pub host: Option<String>,
    /// LiveKit's name of the event.
    pub event: Option<String>,
    pub state: Option<DeliveryState>,
    /// The last attempt was answered a status from the first to the second.
    pub answered: Option<(u16, u16)>,
    /// The room's sid or name.
    pub call: Option<String>,
    /// Received at or after.
    pub since: Option<UnixMillis>,
    /// Received before.
    pub until: Option<UnixMillis>,
    /// Rows before this one.
    pub before: Option<i64>,
}

/// An event may have been received so long before one that stands before it.
const OUT_OF_ORDER_MS: i64 = 5000;

/// A page of deliveries, the newest first.
pub fn page(
    connection: &Connection,
    scope: &Scope,
    filter: &DeliveryFilter,
    limit: usize,
) -> Result<DeliveryList> {
    let page = Page { connection, own: scope.tenant().map(Tenant::as_str), filter };
    let calls = match &filter.call {
        Some(name) => Some(keys_of(connection, scope, name)?),
        None => None,
    };
    let (condition, values) = page.condition(calls.as_deref());
    let mut stories = Stories::new(connection, &condition, &values)?;
    let (mut walk, mut marked) = (page.walk(calls.as_deref())?, page.marked()?);
    let mut deliveries = Vec::new();
    while deliveries.len() < limit {
        let rows = match &mut marked {
            Some(marked) => marked.next(&mut walk)?,
            None => walk.next()?,
        };
        let Some((first, last)) = rows else { break };
        walk.spend(last - first + 1);
        let found = stories.read((first, last), limit - deliveries.len())?;
        if let Some(oldest) = found.last().filter(|_| deliveries.len() + found.len() == limit) {
            walk.take_back((first, oldest.seq - 1));
        }
        for one in found {
            deliveries.push(stories.with_attempts(one)?);
        }
    }
    Ok(DeliveryList { deliveries, next: walk.rest() })
}

/// What is asked, and within which tenant's scope.
struct Page<'p> {
    connection: &'p Connection,
    own: Option<&'p str>,
    filter: &'p DeliveryFilter,
}

impl<'p> Page<'p> {
    /// Where to look.
    fn walk(&self, calls: Option<&[String]>) -> Result<Walk<'p>> {
        let filter = self.filter;
        if let Some(id) = &filter.id {
            return Walk::through(self.connection, self.rows_of(id)?);
        }
        let at = |time: Option<UnixMillis>, slack: i64| {
            time.map(|time| first_since(self.connection, time.0.saturating_add(slack))).transpose()
        };
        let from = at(filter.since, -OUT_OF_ORDER_MS)?.unwrap_or(0);
        let until = at(filter.until, OUT_OF_ORDER_MS)?.unwrap_or(i64::MAX);
        let keys = match (calls, &filter.host, self.own.or(filter.tenant.as_deref())) {
            (Some(calls), _, _) => Some(calls.iter().map(|key| EventKey::call(key)).collect()),
            (None, Some(host), _) => Some(vec![EventKey::host(host)]),
            (None, None, Some(tenant)) => Some(vec![EventKey::tenant(tenant)]),
            (None, None, None) => None,
        };
        Walk::new(self.connection, keys, (from, until.min(filter.before.unwrap_or(i64::MAX))))
    }

    /// The rows of an id, the newest last: the platform's, and tenants' own of that name.
    fn rows_of(&self, id: &str) -> Result<Vec<i64>> {
        self.connection
            .prepare_cached(
                "SELECT seq FROM events WHERE (id = ?1 OR (id > ?1 || '@' AND id < ?1 || 'A')) AND +seq < ?2 \
                 ORDER BY +seq",
            )?
            .query_map((id, self.filter.before.unwrap_or(i64::MAX)), |row| row.get(0))?
            .collect()
    }

    /// Finds rows of the state that is asked for, if there is an index of them.
    fn marked(&self) -> Result<Option<Marked<'p>>> {
        match self.filter.state {
            Some(DeliveryState::Dead) => Marked::dead(self.connection).map(Some),
            Some(DeliveryState::Pending) => {
                let tenant = self.own.or(self.filter.tenant.as_deref());
                Marked::pending(self.connection, tenant, self.filter.host.as_deref()).map(Some)
            }
            Some(DeliveryState::Delivered) | None => Ok(None),
        }
    }

    /// What a row must be, and the values in it.
    fn condition(&self, calls: Option<&[String]>) -> (String, Vec<Value>) {
        let filter = self.filter;
        let mut condition = Condition::default();
        condition.text(match filter.state {
            None => "state IN (0, 1, 2)",
            Some(DeliveryState::Pending) => "state = 0",
            Some(DeliveryState::Delivered) => "state = 1",
            Some(DeliveryState::Dead) => "state = 2 AND state >= 2",
        });
        if let Some((lowest, highest)) = filter.answered {
            condition.value("status >= ", i64::from(lowest));
            condition.value("status <= ", i64::from(highest));
        }
        let times = [("received_at >= ", filter.since), ("received_at < ", filter.until)];
        for (test, time) in times {
            time.into_iter().for_each(|time| condition.value(test, time.0));
        }
        // `+`: the hooks are looked up for each row, and not the other way round.
        let texts = [
            ("event = ", filter.event.as_deref()),
            ("+hooks.tenant = ", self.own),
            ("+hooks.tenant = ", filter.tenant.as_deref()),
            ("+hooks.host = ", filter.host.as_deref()),
        ];
        for (test, text) in texts {
            text.into_iter().for_each(|text| condition.value(test, text.to_owned()));
        }
        if let Some(calls) = calls {
            condition.any("coalesce(events.call, events.room)", calls);
        }
        (condition.sql, condition.values)
    }
}

/// A part of a `WHERE`; its values are numbered from 4 on.
#[derive(Default)]
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    fn text(&mut self, test: &str) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(test);
    }

    fn value(&mut self, test: &str, value: impl Into<Value>) {
        let place = self.place(value);
        self.text(&format!("{test}{place}"));
    }

    fn any(&mut self, column: &str, texts: &[String]) {
        let places: Vec<_> = texts.iter().map(|text| self.place(text.clone())).collect();
        self.text(&format!("{column} IN ({})", places.join(", ")));
    }

    fn place(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len() + 3)
    }
}

#[cfg(test)]
mod tests;
