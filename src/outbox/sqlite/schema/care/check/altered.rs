//! A row whose sum is wrong: what that means, and what can be done about it.

use super::finding::{DatabaseFinding, RECOVER};
use crate::calls::Shelf;
use crate::hooks::Layer;

/// A row that is not as it was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlteredRow {
    /// An event that waits, or a dead letter. `state` as the table `events` has it. `stored`: the one that it had, if nothing
    /// but its state was altered.
    Event { seq: i64, id: String, state: i64, stored: Option<Shelf> },
    /// A call, or one of its participants.
    Call { table: &'static str, call: String },
    /// A hook. A removed one may still have deliveries. `was_removed`: false if nothing was altered but that it was in force.
    Hook { id: i64, host: String, tenant: String, layer: Layer, is_removed: bool, was_removed: bool },
    /// What is known of a tenant besides its hooks.
    Tenant { tenant: String },
    /// A single API token that is revoked.
    Token { jti: String },
}

/// What a router does about a row of `tenants` or `revoked_tokens` that is damaged.
const TOKENS: &str = "API tokens that were issued before the router's last start are refused";

impl AlteredRow {
    /// What a check says of it.
    pub fn finding(&self) -> DatabaseFinding {
        let recover = || RECOVER.to_owned();
        let (means, fix) = match self {
            Self::Event { id, stored: Some(stored), .. } => {
                (format!("{id} is {}, and its row says otherwise", named(*stored)), recover())
            }
            Self::Event { id, state: 0 | 1, .. } => (format!("{id} cannot be delivered"), recover()),
            Self::Event { id, state: 2, .. } => (
                format!("{id} cannot be sent again"),
                "nothing to do: it is a dead letter, and a replay does not deliver it".to_owned(),
            ),
            Self::Event { id, .. } => (format!("{id} goes to nobody"), recover()),
            Self::Call { call, .. } => (format!("later events of {call} have no tenant"), recover()),
            Self::Hook { host, is_removed: true, was_removed: false, .. } => {
                (format!("the hook of {host} is in force, and its row says that it is removed"), recover())
            }
            Self::Hook { host, is_removed: true, .. } => {
                (format!("the last deliveries to the removed hook of {host} cannot be made"), recover())
            }
            Self::Hook { host, tenant, layer, .. } => {
                let means = format!("the hook of {host} is not in force until it is written again");
                (means, written_again(host, tenant, *layer))
            }
            Self::Tenant { tenant } => {
                (format!("{TOKENS}, and the derived secret of {tenant} may be another one"), recover())
            }
            Self::Token { .. } => (TOKENS.to_owned(), recover()),
        };
        let (table, row, key) = self.place();
        let found = "its sum is wrong: it is not as it was stored".to_owned();
        let (table, key) = (Some(table.to_owned()), key.map(str::to_owned));
        DatabaseFinding { table, row, key, found, means, fix }
    }

    /// Its table and, of those that have one, its number, or else its key.
    pub fn place(&self) -> (&'static str, Option<i64>, Option<&str>) {
        match self {
            Self::Event { seq, .. } => ("events", Some(*seq), None),
            Self::Call { table, call } => (table, None, Some(call)),
            Self::Hook { id, .. } => ("hooks", Some(*id), None),
            Self::Tenant { tenant } => ("tenants", None, Some(tenant)),
            Self::Token { jti } => ("revoked_tokens", None, Some(jti)),
        }
    }
}

/// What an event is, for people.
pub fn named(state: Shelf) -> &'static str {
    match state {
        Shelf::Pending => "pending",
        Shelf::Delivered => "delivered",
        Shelf::Dead => "a dead letter",
        Shelf::Unrouted | Shelf::WithoutSip => "unrouted",
        Shelf::Held => "held",
    }
}

/// How a hook comes back.
pub fn written_again(host: &str, tenant: &str, layer: Layer) -> String {
    match layer {
        Layer::File => "restart the router: it writes the hook again from the hooks file".to_owned(),
        Layer::Api => format!(
            "while the router runs: switchhook hooks set {host} URL --tenant {tenant}; if there never was such a hook: \
             switchhook hooks delete {host}"
        ),
    }
}
