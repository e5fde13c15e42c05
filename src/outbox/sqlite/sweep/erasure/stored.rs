//! Erasures as they are stored: whose, up to which rows, how far each has come, and what it erased.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::calls::{ErasePlace, EraseStep};
use crate::hooks::Tenant;
use crate::ids::DeliveryId;
use crate::time::UnixMillis;
use crate::wire::ErasedCounts;

/// What was erased is remembered for so long.
const KEPT_MS: i64 = 400 * 24 * 3_600_000;

/// An erasure as it is stored.
#[derive(Debug)]
pub struct StoredErasure {
    pub id: i64,
    pub tenant: Tenant,
    pub asked_at: UnixMillis,
    /// Events up to this one are erased.
    pub event: i64,
    /// So are the details of records of the audit log up to this one.
    pub record: i64,
    pub place: ErasePlace,
    pub erased: ErasedCounts,
    pub done_at: Option<UnixMillis>,
}

/// Notes that a tenant's data is to be erased; not twice.
pub fn begin(
    connection: &Connection,
    tenant: &Tenant,
    at: UnixMillis,
    event: DeliveryId,
    record: i64,
) -> Result<()> {
    connection.execute("DELETE FROM erasures WHERE done_at < ?1", [at.0.saturating_sub(KEPT_MS)])?;
    connection
        .execute(
            "INSERT OR IGNORE INTO erasures (tenant, asked_at, event, record, step, cursor, report) \
             VALUES (?1, ?2, ?3, ?4, 0, '', '{}')",
            params![tenant.as_str(), at.0, event.0, record],
        )
        .map(drop)
}

const COLUMNS: &str = "id, tenant, asked_at, event, record, step, cursor, report, done_at";

fn read(row: &Row<'_>) -> Result<Option<StoredErasure>> {
    let Some(tenant) = Tenant::new(row.get_ref(1)?.as_str()?) else { return Ok(None) };
    let step = EraseStep::numbered(row.get(5)?).unwrap_or(EraseStep::Waiting);
    Ok(Some(StoredErasure {
        id: row.get(0)?,
        tenant,
        asked_at: UnixMillis(row.get(2)?),
        event: row.get(3)?,
        record: row.get(4)?,
        place: ErasePlace { step, cursor: row.get(6)? },
        erased: counts(row.get_ref(7)?.as_str()?),
        done_at: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
    }))
}

/// Fields that an older release did not write are empty.
pub fn counts(report: &str) -> ErasedCounts {
    serde_json::from_str(report).unwrap_or_default()
}

/// The oldest erasure that is not done.
pub fn next(connection: &Connection) -> Result<Option<StoredErasure>> {
    let sql = format!("SELECT {COLUMNS} FROM erasures WHERE done_at IS NULL ORDER BY id LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([], read).optional().map(Option::flatten)
}

/// A tenant's last erasure.
pub fn of_tenant(connection: &Connection, tenant: &Tenant) -> Result<Option<StoredErasure>> {
    let sql = format!("SELECT {COLUMNS} FROM erasures WHERE tenant = ?1 ORDER BY id DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([tenant.as_str()], read).optional().map(Option::flatten)
}

/// Whether a tenant has a hook, or ever had one.
pub fn is_known(connection: &Connection, tenant: &Tenant) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM hooks WHERE tenant = ?1 LIMIT 1")?.exists([tenant.as_str()])
}

/// Whether remains may be in free pages: rows were deleted before this release overwrote them.
pub fn has_old_remains(connection: &Connection) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM overwritten")?.exists([]).map(|is_clean| !is_clean)
}
