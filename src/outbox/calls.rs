//! The calls: which room session is bound to which hook, and what became of its SIP participants.
//!
//! Every change is a row in the transaction that decides it. Memory only remembers what was read:
//! what a transaction touched is forgotten when it is taken back, so it can never be ahead.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::decide::Decision;
use crate::domain::Domain;
use crate::hooks::Format;
use crate::ids::HookId;
use crate::route::{Binding, Call, Placement, Reason};
use crate::time::UnixMillis;

/// So many live calls are remembered; others are read when they are asked for.
const KNOWN: usize = 1_000_000;

/// How late `seen_at` may be.
const SEEN_WITHIN_MS: i64 = 3_600_000;

/// A call and its row.
#[derive(Clone, Debug)]
struct Known {
    call: Call,
    seen_at: UnixMillis,
    finished: bool,
}

/// What is known of calls.
#[derive(Debug, Default)]
pub struct Calls {
    known: HashMap<Box<str>, Box<Known>, RandomState>,
    /// The URL of each hook's latest call: most calls of a hook share it.
    urls: HashMap<HookId, Arc<str>>,
    /// What the present transaction has touched.
    touched: Vec<Box<str>>,
}

impl Calls {
    /// The session an event belongs to: its room's sid, else the one of that name which was first seen
    /// last, until it is finished.
    pub fn session(connection: &Connection, decision: &Decision<'_>) -> Result<Option<Box<str>>> {
        let (None, Some(name)) = (&decision.session, decision.room_key()) else {
            return Ok(decision.session.clone());
        };
        let latest: Option<(String, bool)> = connection
            .prepare_cached(
                "SELECT call, finished_at IS NOT NULL FROM calls WHERE room = ?1 \
                 ORDER BY began_at DESC LIMIT 1",
            )?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(latest.filter(|(_, finished)| !finished).map(|(call, _)| call.into()))
    }

    /// What is known of a session.
    pub fn find(&mut self, connection: &Connection, session: &str) -> Result<Option<&Call>> {
        if !self.known.contains_key(session)
            && let Some(mut known) = load(connection, session)?
        {
            known.call.binding = known.call.binding.map(|binding| self.sharing(&binding));
            if known.finished {
                self.touched.push(session.into());
            }
            self.known.insert(session.into(), Box::new(known));
        }
        Ok(self.remembered(session))
    }

    /// The same, as far as memory goes.
    pub fn remembered(&self, session: &str) -> Option<&Call> {
        self.known.get(session).map(|known| &known.call)
    }

    /// A session begins; bound at once, if its first event says whose it is.
    pub fn begin(
        &mut self,
        connection: &Connection,
        session: &str,
        (room, sip): (Option<&str>, bool),
        at: UnixMillis,
        bound: Option<(&Binding, Option<&str>)>,
    ) -> Result<()> {
        let bound = bound.map(|(binding, participant)| (self.sharing(binding), participant));
        let binding = bound.as_ref().map(|(binding, _)| binding);
        connection
            .prepare_cached(
                "INSERT INTO calls (call, room, hook, url, format, participant, sip, began_at, seen_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
            )?
            .execute(params![
                session,
                room,
                binding.map(|binding| binding.hook.0),
                binding.map(|binding| &*binding.url),
                binding.map(|binding| binding.format.as_str()),
                bound.as_ref().and_then(|(_, participant)| *participant),
                sip,
                at.0
            ])?;
        let mut known = Known { call: Call::new(sip, false), seen_at: at, finished: false };
        if let Some((binding, participant)) = bound {
            known.call.bind(binding, participant);
        }
        self.known.insert(session.into(), Box::new(known));
        self.touched.push(session.into());
        Ok(())
    }

    /// A session was seen again.
    pub fn see(&mut self, connection: &Connection, session: &str, at: UnixMillis) -> Result<()> {
        let Some(known) = self.known.get_mut(session) else { return Ok(()) };
        if at.0 - known.seen_at.0 <= SEEN_WITHIN_MS {
            return Ok(());
        }
        known.seen_at = at;
        self.touched.push(session.into());
        connection
            .prepare_cached("UPDATE calls SET seen_at = ?2 WHERE call = ?1")?
            .execute(params![session, at.0])
            .map(drop)
    }

    /// The call goes to a hook from here on, because of this participant; nothing later rebinds it.
    pub fn bind(
        &mut self,
        connection: &Connection,
        session: &str,
        binding: &Binding,
        participant: Option<&str>,
    ) -> Result<()> {
        connection
            .prepare_cached(
                "UPDATE calls SET hook = ?2, url = ?3, format = ?4, participant = ?5 WHERE call = ?1",
            )?
            .execute(params![session, binding.hook.0, binding.url, binding.format.as_str(), participant])?;
        // It may have been nobody's before.
        connection
            .prepare_cached("DELETE FROM participants WHERE call = ?1 AND participant = ?2")?
            .execute(params![session, participant])?;
        let binding = self.sharing(binding);
        self.change(session, |known| known.call.bind(binding, participant));
        Ok(())
    }

    /// The rules have placed a participant, or could not.
    pub fn place(
        &mut self,
        connection: &Connection,
        session: &str,
        participant: &str,
        placement: Placement,
    ) -> Result<()> {
        let (binding, reason, domain) = match &placement {
            Placement::At(binding) => (Some(binding), None, None),
            Placement::Nowhere(reason, domain) => (None, Some(reason.as_str()), domain.as_ref()),
        };
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO participants (call, participant, hook, url, format, reason, domain) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                session,
                participant,
                binding.map(|binding| binding.hook.0),
                binding.map(|binding| &*binding.url),
                binding.map(|binding| binding.format.as_str()),
                reason,
                domain.map(Domain::as_str),
            ])?;
        self.change(session, |known| known.call.place(participant, placement));
        Ok(())
    }

    /// The first SIP participant is in the room: what came before is kept for it.
    pub fn see_sip(&mut self, connection: &Connection, session: &str) -> Result<()> {
        connection.prepare_cached("UPDATE calls SET sip = 1 WHERE call = ?1")?.execute([session])?;
        connection
            .prepare_cached("UPDATE events SET state = 3 WHERE state >= 3 AND call = ?1 AND state = 5")?
            .execute([session])?;
        self.change(session, |known| known.call.sip = true);
        Ok(())
    }

    /// Another tenant's participant is in the call.
    pub fn share(&mut self, connection: &Connection, session: &str) -> Result<()> {
        connection.prepare_cached("UPDATE calls SET shared = 1 WHERE call = ?1")?.execute([session])?;
        self.change(session, |known| known.call.shared = true);
        Ok(())
    }

    /// The session is over. Late events still find it; its name is free.
    pub fn finish(&mut self, connection: &Connection, session: &str, at: UnixMillis) -> Result<()> {
        if self.known.get(session).is_some_and(|known| known.finished) {
            return Ok(());
        }
        connection
            .prepare_cached(
                "UPDATE calls SET finished_at = ?2, seen_at = ?2 WHERE call = ?1 AND finished_at IS NULL",
            )?
            .execute(params![session, at.0])?;
        self.change(session, |known| known.finished = true);
        Ok(())
    }

    fn change(&mut self, session: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.get_mut(session) {
            change(known);
            self.touched.push(session.into());
        }
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        // Of what is over, little comes: the rows have it all.
        for session in self.touched.drain(..) {
            if self.known.get(&session).is_some_and(|known| known.finished) {
                self.known.remove(&session);
            }
        }
        if self.known.len() > KNOWN || self.urls.len() > KNOWN {
            self.forget();
        }
    }

    /// The transaction is taken back: what it touched is read anew.
    pub fn roll_back(&mut self) {
        for session in self.touched.drain(..) {
            self.known.remove(&session);
        }
    }

    /// Rows have changed behind memory's back.
    pub fn forget(&mut self) {
        self.known.clear();
        self.urls.clear();
    }

    /// The rows of these are gone.
    pub fn forget_those<'s>(&mut self, sessions: impl IntoIterator<Item = &'s str>) {
        for session in sessions {
            self.known.remove(session);
        }
    }

    /// The same binding, with the URL that other calls of its hook have.
    fn sharing(&mut self, binding: &Binding) -> Binding {
        let url = self.urls.entry(binding.hook).or_insert_with(|| Arc::clone(&binding.url));
        if **url != *binding.url {
            *url = Arc::clone(&binding.url);
        }
        Binding { hook: binding.hook, url: Arc::clone(url), format: binding.format }
    }
}

/// A session as its rows tell it.
pub fn read(connection: &Connection, session: &str) -> Result<Option<Call>> {
    Ok(load(connection, session)?.map(|known| known.call))
}

fn load(connection: &Connection, session: &str) -> Result<Option<Known>> {
    let read = |row: &Row<'_>| {
        let mut known = Known {
            call: Call::new(row.get(7)?, row.get(4)?),
            seen_at: UnixMillis(row.get(5)?),
            finished: row.get::<_, Option<i64>>(6)?.is_some(),
        };
        let participant: Option<String> = row.get(3)?;
        if let Some(binding) = binding(row, 0)? {
            known.call.bind(binding, participant.as_deref());
        }
        Ok(known)
    };
    let found = connection
        .prepare_cached(
            "SELECT hook, url, format, participant, shared, seen_at, finished_at, sip FROM calls WHERE call = ?1",
        )?
        .query_row([session], read)
        .optional()?;
    let Some(mut known) = found else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT hook, url, format, participant, reason, domain FROM participants WHERE call = ?1",
    )?;
    let mut rows = statement.query([session])?;
    while let Some(row) = rows.next()? {
        let reason: Option<String> = row.get(4)?;
        let reason = reason.and_then(|name| Reason::ALL.into_iter().find(|reason| reason.as_str() == name));
        let placement = match binding(row, 0)? {
            Some(binding) => Placement::At(binding),
            None => {
                let domain: Option<String> = row.get(5)?;
                let domain = domain.map(|domain| Domain::stored(&domain));
                Placement::Nowhere(reason.unwrap_or(Reason::NoHook), domain)
            }
        };
        known.call.place(&row.get::<_, String>(3)?, placement);
    }
    Ok(Some(known))
}

fn binding(row: &Row<'_>, first: usize) -> Result<Option<Binding>> {
    let Some(hook) = row.get::<_, Option<i64>>(first)? else { return Ok(None) };
    let url: Option<String> = row.get(first + 1)?;
    let format: Option<String> = row.get(first + 2)?;
    Ok(Some(Binding {
        hook: HookId(hook),
        url: url.unwrap_or_default().into(),
        format: format.as_deref().and_then(Format::named).unwrap_or(Format::Raw),
    }))
}
