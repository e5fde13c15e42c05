//! Databases that are put in place.

mod left_over;
mod placing;
mod revoked;

use std::path::Path;

use rusqlite::Connection;

use super::super::connection::write_durably;
use super::super::{files, open_writer, sums};

/// A database in `directory` with so many events, each with a body in `bodies`, named after `prefix`. Its write-ahead log
/// is folded in, unless `keeps_log`.
pub fn database(directory: &Path, prefix: &str, events: i64, keeps_log: bool) {
    let store = open_writer(directory).expect("a database");
    let insert = |first: i64, last: i64| {
        let sql = format!(
            "WITH RECURSIVE n(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {last}) \
             INSERT INTO events (seq, id, event, call, room, created_at, received_at, domain, outcome, size, state, hook, \
             chain, sequence, bound_url) SELECT n, '{prefix}' || n, 'participant_joined', 'RM_' || n / 10, 'call-' || n, \
             1795742856, 1795742856000 + n, 'a.example', 'domain', 900, 0, 1, n / 10, n % 10, 'http://a.example/' FROM n"
        );
        store.execute_batch(&sql).expect("events");
        let bodies = "INSERT INTO bodies SELECT seq, CAST(id || hex(randomblob(450)) AS BLOB) FROM events \
                      WHERE seq >= ?1 AND seq <= ?2";
        store.execute(bodies, [first, last]).expect("bodies");
    };
    let hook = "INSERT INTO hooks (id, host, tenant, url, layer, version) \
                VALUES (1, 'a.example', 'acme', 'http://a.example/', 'file', 1)";
    store.execute_batch(hook).expect("a hook");
    insert(1, events / 2);
    store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("folded");
    insert(events / 2 + 1, events);
    sums::begin(&store).expect("sums");
    if keeps_log {
        killed(directory, store);
    }
}

/// The process ends without closing its database: the log stays as it is.
pub fn killed(directory: &Path, store: Connection) {
    let database = files::path(directory);
    let copies: Vec<_> = files::parts(&database).take(2).map(|part| (std::fs::read(&part), part)).collect();
    store.close().expect("closed");
    for (bytes, part) in copies {
        std::fs::write(part, bytes.expect("a file")).expect("as it was");
    }
}

/// The ids of all events, as a start of the router finds them.
fn ids(directory: &Path) -> Vec<String> {
    let store = open_writer(directory).expect("a database");
    write_durably(&store).expect("it can be written");
    all_ids(&store)
}

pub fn all_ids(store: &Connection) -> Vec<String> {
    let mut rows = store.prepare("SELECT id FROM events ORDER BY seq").expect("events");
    rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows")
}
