//! Plans the next part of an erasure: walks on through a table until enough rows are found, or looked at.

use rusqlite::{Connection, Result, params};

use super::domains::OwnDomains;
use super::pages;
use super::stored::StoredErasure;
use crate::calls::{ErasePart, ErasePlace, EraseStep, ErasedRows};
use crate::domain::Domain;
use crate::ids::DeliveryId;
use crate::time::UnixMillis;

/// One transaction removes at most this many rows: the next events wait for it.
const PART: usize = 256;

/// At most this many events of other tenants are noted with one part.
const SHARED: usize = 4096;

/// One part looks at this many rows.
const LOOK: i64 = 20_000;

/// The next part; none: nothing can be done yet. The steps with files are not planned here.
pub fn plan(
    connection: &Connection,
    erasure: &StoredErasure,
    own: &OwnDomains,
    now: UnixMillis,
) -> Result<Option<ErasePart>> {
    let planner = Planner { connection, erasure, own, tenant: erasure.tenant.as_str() };
    let mut shared = Vec::new();
    let step = erasure.place.step;
    let (rows, cursor) = match step {
        EraseStep::Waiting if planner.is_early()? => return Ok(None),
        EraseStep::Waiting => (ErasedRows::None, None),
        EraseStep::Events => planner.events(&mut shared)?,
        EraseStep::Facts => planner.facts()?,
        EraseStep::Calls => planner.calls()?,
        EraseStep::Participants => planner.participants()?,
        EraseStep::Numbers => planner.numbers()?,
        EraseStep::Audit => planner.records()?,
        EraseStep::Pages | EraseStep::PagesAgain => planner.pages()?,
        EraseStep::Files | EraseStep::Done => return Ok(None),
    };
    let to = match cursor {
        Some(cursor) => ErasePlace { step, cursor },
        None => ErasePlace::begin(step.next()),
    };
    let (tenant, from) = (erasure.tenant.clone(), erasure.place.clone());
    Ok(Some(ErasePart { id: erasure.id, tenant, from, to, rows, shared, at: now }))
}

/// What is to be erased with the next part, and the last row that was looked at; none: the step is done.
type Found = (ErasedRows, Option<String>);

struct Planner<'p> {
    connection: &'p Connection,
    erasure: &'p StoredErasure,
    own: &'p OwnDomains,
    tenant: &'p str,
}

impl Planner<'_> {
    /// Whether rows are yet to be copied from an older release's database, or to be counted.
    fn is_early(&self) -> Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM predecessor WHERE done_at IS NULL) OR EXISTS \
                 (SELECT 1 FROM events WHERE seq > (SELECT digested FROM progress) AND seq <= ?1)",
            )?
            .query_row([self.erasure.event], |row| row.get(0))
    }

    /// A row's `whose`: 1 the tenant's, 2 nobody's, 3 another's in a call that the tenant was in.
    fn events(&self, shared: &mut Vec<(String, String)>) -> Result<Found> {
        let mut rows = self.connection.prepare_cached(
            "SELECT seq, call, domain, tenant, CASE \
             WHEN tenant = ?1 OR space = ?1 THEN 1 \
             WHEN tenant IS NULL AND space IS NULL AND state >= 3 THEN iif(EXISTS \
             (SELECT 1 FROM calls WHERE calls.call = events.call AND calls.tenant = ?1), 1, 2) \
             WHEN call IS NOT NULL AND EXISTS (SELECT 1 FROM calls WHERE calls.call = events.call AND shared = 1 \
             AND (calls.tenant = ?1 OR EXISTS (SELECT 1 FROM participants WHERE participants.call = calls.call \
             AND participants.tenant = ?1))) THEN 3 ELSE 0 END AS whose, \
             coalesce(freed_at > ?4 AND replayed_at IS NULL, 0) \
             FROM events WHERE seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?5",
        )?;
        let (after, until) = (self.number(), self.erasure.event);
        let mut rows = rows.query(params![self.tenant, after, until, self.erasure.asked_at.0, LOOK])?;
        let (mut walk, mut ids) = (Walk::default(), Vec::new());
        while ids.len() < PART
            && shared.len() < SHARED
            && let Some(row) = rows.next()?
        {
            let seq: i64 = row.get(0)?;
            walk.saw(seq.to_string());
            // An event that waited, and got its hook only since, was nobody's when the erasure was asked for.
            let is_new: bool = row.get(5)?;
            let is_own = match row.get::<_, i64>(4)? {
                1 => true,
                2 => self.is_own_by_domain(row.get(2)?, row.get(1)?)?,
                3 => {
                    shared.push((row.get(1)?, row.get(3)?));
                    false
                }
                _ => false,
            };
            if is_own && !is_new {
                ids.push(DeliveryId(seq));
            }
        }
        let is_cut = ids.len() >= PART || shared.len() >= SHARED;
        Ok((ErasedRows::Events(ids), walk.end(is_cut)))
    }

    /// Whether an event without a hook names a domain of the tenant; or if it names none, whether the callers of its
    /// call do, and no other.
    fn is_own_by_domain(&self, domain: Option<String>, call: Option<String>) -> Result<bool> {
        match (domain, call) {
            (Some(domain), _) => Ok(self.own.have(&domain)),
            (None, Some(call)) => self.is_own_call(&call),
            (None, None) => Ok(false),
        }
    }

    /// Those whose events are gone: as [`Self::events`], by the domains that SIP headers name.
    fn facts(&self) -> Result<Found> {
        let mut rows = self.connection.prepare_cached(
            "SELECT n, coalesce(tenant = ?1, 0) OR coalesce(space = ?1, 0) OR (tenant IS NULL AND space IS NULL \
             AND EXISTS (SELECT 1 FROM calls WHERE calls.call = facts.call AND calls.tenant = ?1)), \
             tenant IS NULL AND space IS NULL, call, x_to_ip, to_header, \
             NOT EXISTS (SELECT 1 FROM events WHERE events.seq = facts.seq) \
             FROM facts WHERE n > ?2 AND seq <= ?3 ORDER BY n LIMIT ?4",
        )?;
        let mut rows = rows.query(params![self.tenant, self.number(), self.erasure.event, LOOK])?;
        let (mut walk, mut gone) = (Walk::default(), Vec::new());
        while gone.len() < PART
            && let Some(row) = rows.next()?
        {
            let n: i64 = row.get(0)?;
            walk.saw(n.to_string());
            let (is_own, is_nobodys): (bool, bool) = (row.get(1)?, row.get(2)?);
            let named: [Option<String>; 2] = [row.get(4)?, row.get(5)?];
            let is_alone: bool = row.get(6)?;
            if is_alone && (is_own || (is_nobodys && self.is_own_by_headers(&named, row.get(3)?)?)) {
                gone.push(n);
            }
        }
        let is_cut = gone.len() >= PART;
        Ok((ErasedRows::Facts(gone), walk.end(is_cut)))
    }

    /// Whether SIP headers name a domain of the tenant; or if they name none, whether the callers of the call do.
    fn is_own_by_headers(&self, headers: &[Option<String>; 2], call: Option<String>) -> Result<bool> {
        let domains = headers.iter().flatten().filter_map(|value| Domain::from_sip(value).ok());
        let domains: Vec<_> = domains.collect();
        match call {
            Some(call) if domains.is_empty() => self.is_own_call(&call),
            Some(_) | None => Ok(domains.iter().any(|domain| self.own.have(domain.as_str()))),
        }
    }

    fn is_own_call(&self, call: &str) -> Result<bool> {
        let mut domains = self
            .connection
            .prepare_cached("SELECT domain FROM participants WHERE call = ?1 AND domain IS NOT NULL")?;
        let mut domains = domains.query([call])?;
        let mut is_own = false;
        while let Some(row) = domains.next()? {
            if !self.own.have(row.get_ref(0)?.as_str()?) {
                return Ok(false);
            }
            is_own = true;
        }
        Ok(is_own)
    }

    fn calls(&self) -> Result<Found> {
        let mut rows = self.connection.prepare_cached(
            "SELECT call, CASE WHEN tenant = ?1 OR space = ?1 THEN 1 WHEN tenant IS NULL AND coalesce(hook, 0) = 0 THEN 2 \
             ELSE 0 END, finished_at IS NULL OR shared = 1 OR EXISTS (SELECT 1 FROM participants \
             WHERE participants.call = calls.call AND participants.tenant <> ?1), began_at > ?3 \
             FROM calls WHERE call > ?2 ORDER BY call LIMIT ?4",
        )?;
        let mut rows = rows.query(params![self.tenant, self.cursor(), self.erasure.asked_at.0, LOOK])?;
        let (mut walk, mut gone, mut bare) = (Walk::default(), Vec::new(), Vec::new());
        while gone.len() + bare.len() < PART
            && let Some(row) = rows.next()?
        {
            let call: String = row.get(0)?;
            walk.saw(call.clone());
            let is_own = match row.get::<_, i64>(1)? {
                1 => true,
                2 => self.is_own_call(&call)?,
                _ => false,
            };
            let is_new: bool = row.get(3)?;
            if is_own && !is_new {
                if row.get(2)? { bare.push(call) } else { gone.push(call) }
            }
        }
        let is_cut = gone.len() + bare.len() >= PART;
        Ok((ErasedRows::Calls { gone, bare }, walk.end(is_cut)))
    }

    fn participants(&self) -> Result<Found> {
        let mut rows = self.connection.prepare_cached(
            "SELECT participants.call, participants.participant, domain, \
             coalesce(participants.tenant = ?1 OR participants.space = ?1, 0), \
             calls.call IS NOT NULL AND finished_at IS NULL, coalesce(began_at > ?4, 0) \
             FROM participants LEFT JOIN calls USING (call) \
             WHERE (participants.call, participants.participant) > (?2, ?3) \
             ORDER BY participants.call, participants.participant LIMIT ?5",
        )?;
        let (call, participant) = unpaired(self.cursor());
        let asked_at = self.erasure.asked_at.0;
        let mut rows = rows.query(params![self.tenant, call, participant, asked_at, LOOK])?;
        let (mut walk, mut gone, mut bare) = (Walk::default(), Vec::new(), Vec::new());
        while gone.len() + bare.len() < PART
            && let Some(row) = rows.next()?
        {
            let key: (String, String) = (row.get(0)?, row.get(1)?);
            walk.saw(paired(&key));
            let domain: Option<String> = row.get(2)?;
            let has_domain = domain.is_some();
            let is_own = row.get(3)? || domain.is_some_and(|domain| self.own.have(&domain));
            let (is_live, is_new): (bool, bool) = (row.get(4)?, row.get(5)?);
            match (is_own && !is_new, is_live) {
                (true, false) => gone.push(key),
                (true, true) if has_domain => bare.push(key),
                (true, true) | (false, _) => {}
            }
        }
        let is_cut = gone.len() + bare.len() >= PART;
        Ok((ErasedRows::Participants { gone, bare }, walk.end(is_cut)))
    }

    fn numbers(&self) -> Result<Found> {
        let mut rows = self.connection.prepare_cached(
            "SELECT number, domain, tenant, before_domain, before_tenant, seen_at > ?2 FROM numbers \
             WHERE number > ?1 ORDER BY number LIMIT ?3",
        )?;
        let mut rows = rows.query(params![self.cursor(), self.erasure.asked_at.0, LOOK])?;
        let (mut walk, mut gone, mut moved) = (Walk::default(), Vec::new(), Vec::new());
        while gone.len() + moved.len() < PART
            && let Some(row) = rows.next()?
        {
            let number: String = row.get(0)?;
            walk.saw(number.clone());
            let is_own = |domain: Option<String>, tenant: Option<String>| match tenant {
                Some(tenant) => tenant == self.tenant,
                None => domain.is_some_and(|domain| self.own.have(&domain)),
            };
            let is_new: bool = row.get(5)?;
            if is_own(row.get(1)?, row.get(2)?) && !is_new {
                gone.push(number);
            } else if is_own(row.get(3)?, row.get(4)?) {
                moved.push(number);
            }
        }
        let is_cut = gone.len() + moved.len() >= PART;
        Ok((ErasedRows::Numbers { gone, moved }, walk.end(is_cut)))
    }

    /// By the indexes of the audit log: few of a million records are the tenant's.
    fn records(&self) -> Result<Found> {
        let ids = self
            .connection
            .prepare_cached(
                "SELECT id FROM audit WHERE (tenant = ?1 OR actor = ?1) AND id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4",
            )?
            .query_map(params![self.tenant, self.number(), self.erasure.record, PART as i64], |row| row.get(0))?
            .collect::<Result<Vec<i64>>>()?;
        let last = ids.last().filter(|_| ids.len() == PART).map(ToString::to_string);
        Ok((ErasedRows::Records(ids), last))
    }

    fn pages(&self) -> Result<Found> {
        let found = pages::plan(self.connection, self.number())?;
        Ok(found.map_or((ErasedRows::None, None), |(pages, last)| {
            (ErasedRows::Pages(pages), Some(last.to_string()))
        }))
    }

    fn cursor(&self) -> &str {
        &self.erasure.place.cursor
    }

    /// The cursor of a table whose key is a number.
    fn number(&self) -> i64 {
        self.cursor().parse().unwrap_or(0)
    }
}

/// A walk through a part of a table.
#[derive(Default)]
struct Walk {
    last: Option<String>,
    count: i64,
}

impl Walk {
    fn saw(&mut self, key: String) {
        self.count += 1;
        self.last = Some(key);
    }

    /// Where the next part begins; none at the end of the table. `is_cut`: it ended before its time.
    fn end(self, is_cut: bool) -> Option<String> {
        self.last.filter(|_| is_cut || self.count >= LOOK)
    }
}

/// Two keys as one text, and back: names may hold any character.
fn paired((first, second): &(String, String)) -> String {
    format!("{}:{first}{second}", first.len())
}

fn unpaired(pair: &str) -> (&str, &str) {
    let split = pair.split_once(':');
    split.and_then(|(length, both)| both.split_at_checked(length.parse().ok()?)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_are_one_text_whatever_they_hold() {
        for pair in [("RM_a", "PA_b"), ("", ""), ("5:x", ":"), ("é", "\n")] {
            let pair = (pair.0.to_owned(), pair.1.to_owned());
            assert_eq!(unpaired(&paired(&pair)), (&*pair.0, &*pair.1));
        }
        assert_eq!([unpaired(""), unpaired("9:é"), unpaired("1:é"), unpaired("x")], [("", ""); 4]);
    }
}
