//! What is unrouted, as the API answers it: with what is to be done about it.

use rusqlite::{Connection, Result};

use super::count::{Group, OTHERS, UnroutedCount};
use crate::access::Scope;
use crate::domain::Domain;
use crate::event::Event;
use crate::hooks::HookTable;
use crate::route::Reason;
use crate::wire::GroupStory;

/// Hosts that are compared for one page, about: a large table is searched only for the first few groups, which takes
/// some 30 ms.
const COMPARISONS: usize = 200_000;

/// The groups from `skip` on, at most `limit`, with what is to be done about each; and whether there are more.
pub fn group_stories(
    connection: &Connection,
    (scope, table): (&Scope, &HookTable),
    counted: &UnroutedCount,
    (skip, limit): (usize, usize),
) -> Result<(Vec<GroupStory>, bool)> {
    let groups = counted.groups(scope);
    let more = groups.len() > skip.saturating_add(limit);
    let page = groups.into_iter().skip(skip).take(limit);
    let told = (0..).zip(page).map(|(rank, group)| tell(connection, scope, table, group, rank));
    Ok((told.collect::<Result<_>>()?, more))
}

/// A group as the API answers it; `rank`: its place on the page.
fn tell(
    connection: &Connection,
    scope: &Scope,
    table: &HookTable,
    group: Group,
    rank: usize,
) -> Result<GroupStory> {
    let is_domain = |domain: &&String| group.reason == "no_hook" && *domain != OTHERS;
    let domain = group.domain.as_ref().filter(is_domain).map(|domain| Domain::stored(domain));
    let hook = domain.as_ref().and_then(|domain| table.by_domain(domain));
    let hook = hook.filter(|hook| scope.sees(hook.tenant.as_str()));
    // A tenant has few hooks, and no others are searched for it.
    let searches = (COMPARISONS / table.len().max(1)).max(1);
    let search = hook.is_none() && (rank < searches || !scope.is_operator());
    let nearest = domain.filter(|_| search).map(|domain| nearest(scope, table, &domain)).unwrap_or_default();
    let fix = match (hook, &group.domain) {
        (Some(hook), Some(domain)) => {
            let tenant = &hook.tenant;
            format!("It has a hook by now ({tenant}): switchhook replay --unrouted --domain {domain}")
        }
        _ => fix(connection, &group)?,
    };
    let last_seen = group.last_seen.to_string();
    let Group { reason, domain, events, calls, .. } = group;
    Ok(GroupStory { reason, domain, events, calls, last_seen, nearest, fix })
}

/// The hosts most like a domain, among those that the scope covers.
fn nearest(scope: &Scope, table: &HookTable, domain: &Domain) -> Vec<String> {
    match scope.tenant() {
        Some(tenant) => table.of(tenant).nearest(domain),
        None => table.all().nearest(domain),
    }
}

/// What is to be done about a group, as exactly as its last event shows.
fn fix(connection: &Connection, group: &Group) -> Result<String> {
    let Some(reason) = Reason::named(&group.reason) else {
        return Ok(String::new());
    };
    if reason == Reason::NoDomain {
        // Only the caller's own events name the trunk.
        let mut bodies = connection.prepare_cached(
            "SELECT body FROM events JOIN bodies USING (seq) WHERE state >= 3 AND outcome = 'no_domain' \
             AND call = (SELECT call FROM events WHERE seq = ?1) ORDER BY seq LIMIT 50",
        )?;
        let mut bodies = bodies.query([group.latest.0])?;
        while let Some(row) = bodies.next()? {
            let body: Vec<u8> = row.get(0)?;
            if let Some(caller) = Event::parse(&body).ok().and_then(|event| event.caller) {
                return Ok(reason.advice(Some(&caller), None));
            }
        }
    }
    Ok(reason.advice(None, group.domain.as_deref().filter(|domain| *domain != OTHERS)))
}
