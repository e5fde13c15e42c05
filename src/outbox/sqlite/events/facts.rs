//! What routing read of an event, as columns of its row: so that it is routed again without its body.

use std::borrow::Cow;

use rusqlite::{Result, Row};

use crate::calls::SipFacts;
use crate::event::{Caller, Event};
use crate::hooks::Tenant;
use crate::route::Door;

/// An inbound caller, in the column `sip`.
const INBOUND: i64 = 1;

/// An outbound SIP participant.
const OUTBOUND: i64 = 2;

/// The columns `participant, sip, x_to_ip, to_header, number, trunk`.
#[derive(Debug, Default)]
pub struct FactColumns<'e> {
    pub participant: Option<&'e str>,
    pub sip: Option<i64>,
    pub x_to_ip: Option<&'e str>,
    pub to_header: Option<&'e str>,
    pub number: Option<&'e str>,
    pub trunk: Option<&'e str>,
}

impl<'e> FactColumns<'e> {
    /// The columns of an event.
    pub fn of(event: &'e Event<'_>) -> Self {
        let participant = event.participant.as_deref();
        match (&event.caller, event.outbound_trunk.as_deref()) {
            (Some(caller), _) => Self {
                participant,
                sip: Some(INBOUND),
                x_to_ip: caller.x_to_ip.as_deref(),
                to_header: caller.to.as_deref(),
                number: caller.number.as_deref(),
                trunk: caller.trunk.as_deref(),
            },
            (None, Some(trunk)) => {
                Self { participant, sip: Some(OUTBOUND), trunk: Some(trunk), ..Self::default() }
            }
            (None, None) => Self { participant, ..Self::default() },
        }
    }
}

/// Reads the columns of [`FactColumns`], the first of which is `first`.
pub fn read(row: &Row<'_>, first: usize) -> Result<SipFacts> {
    let text = |column: usize| row.get::<_, Option<String>>(first + column);
    let facts = SipFacts { participant: text(0)?, ..SipFacts::default() };
    let cow = |column: usize| text(column).map(|text| text.map(Cow::Owned));
    Ok(match row.get(first + 1)? {
        Some(INBOUND) => {
            let caller = Caller { x_to_ip: cow(2)?, to: cow(3)?, number: cow(4)?, trunk: cow(5)? };
            SipFacts { caller: Some(caller), ..facts }
        }
        Some(OUTBOUND) => SipFacts { outbound_trunk: text(5)?, ..facts },
        Some(_) | None => facts,
    })
}

/// The URL an event came by, from the columns `tenant, space, by_url`, the first of which is `first`.
pub fn door(row: &Row<'_>, first: usize) -> Result<Door> {
    let tenant = |column: usize| -> Result<Option<Tenant>> {
        Ok(row.get::<_, Option<String>>(column)?.as_deref().and_then(Tenant::new))
    };
    if let Some(tenant) = tenant(first + 1)? {
        return Ok(Door::Tenant { tenant, own_key: true });
    }
    let by_url = row.get::<_, Option<bool>>(first + 2)?.unwrap_or(false);
    let tenant = tenant(first)?.filter(|_| by_url);
    Ok(tenant.map_or(Door::Platform, |tenant| Door::Tenant { tenant, own_key: false }))
}
