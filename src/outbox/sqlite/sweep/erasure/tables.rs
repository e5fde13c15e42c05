//! Every table of the database, and what an erasure does with it. A test fails for a table that is not named here.

/// Rows that are found by their event's number and go with it, besides `bodies` and `ring`, which
/// [`super::Bodies::erase`] clears.
pub const BY_EVENT: [(&str, &str); 3] = [
    ("attempts", "DELETE FROM attempts WHERE seq = ?1"),
    ("kept_bodies", "DELETE FROM kept_bodies WHERE seq = ?1"),
    ("facts", "DELETE FROM facts WHERE seq = ?1"),
];

/// Tables that an erasure walks through: see [`super::plan`].
#[cfg(test)]
const WALKED: [&str; 8] = ["events", "bodies", "ring", "facts", "calls", "participants", "numbers", "audit"];

/// Tables that stay, and why they may.
#[cfg(test)]
const STAYS: [(&str, &str); 12] = [
    ("usage", "sums per tenant and day, for billing"),
    ("event_keys", "hashes and numbers of rows; those of removed rows are swept"),
    ("chains", "numbers of calls, found by a hash; swept after 24 h"),
    ("progress", "numbers of rows"),
    ("hooks", "configuration: hosts, URLs and sealed settings"),
    ("tenants", "a tenant's name, and how often its secret was renewed"),
    ("revoked_tokens", "ids of tokens, until they expire"),
    ("predecessor", "the name of a file"),
    ("erasures", "what was erased: counts, and calls that another tenant has, too"),
    ("overwritten", "a time"),
    ("sqlite_sequence", "the id of the last hook"),
    ("sqlite_stat1", "never made: nothing runs ANALYZE"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn an_erasure_knows_every_table() {
        let store = in_memory();
        let mut tables =
            store.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").expect("a query");
        let tables: Vec<String> = tables
            .query_map([], |row| row.get(0))
            .expect("tables")
            .collect::<rusqlite::Result<_>>()
            .expect("names");
        for table in tables {
            let is_known = WALKED.contains(&&*table)
                || BY_EVENT.iter().any(|(name, _)| *name == table)
                || STAYS.iter().any(|(name, _)| *name == table);
            assert!(is_known, "{table}: does an erasure remove a tenant's rows of it? Name it in tables.rs");
        }
    }
}
