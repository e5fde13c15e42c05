-- What databases of version 3 did not have, or not at first: each statement changes nothing where it was run before.

-- What each tenant used on each day, in UTC: of events up to `digested` of `progress`, and of those that were removed.
-- Kept for 400 days, at most a million rows.
CREATE TABLE IF NOT EXISTS usage (
    day        INTEGER NOT NULL,  -- since 1970-01-01
    tenant     TEXT    NOT NULL,  -- '': nobody's
    events     INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    PRIMARY KEY (day, tenant)
) WITHOUT ROWID;
-- Which rows of `events` a tenant, a host, a call or a room's name has, up to `digested` of `progress`. An entry is a
-- segment of rows, a hash of the key and a place in the segment, in one number: see digest/index.rs. Entries that mean
-- a removed row, or one that has changed, do no harm: whoever finds a row by an entry looks at the row.
CREATE TABLE IF NOT EXISTS event_keys (entry INTEGER PRIMARY KEY);

-- Lists of calls, the newest first: of all, and of a tenant.
CREATE INDEX IF NOT EXISTS calls_began ON calls (began_at);
CREATE INDEX IF NOT EXISTS calls_tenant ON calls (tenant, began_at) WHERE tenant IS NOT NULL;
-- Further participants are rare: the calls in which a tenant has one.
CREATE INDEX IF NOT EXISTS participants_tenant ON participants (tenant) WHERE tenant IS NOT NULL;
-- Called numbers that changed, the newest first, by the tenant that they go to now, or to none, and by the one before:
-- a list decides by these alone which it reads.
CREATE INDEX IF NOT EXISTS numbers_tenant ON numbers (tenant, changed_at, before_tenant) WHERE changed_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS numbers_before ON numbers (before_tenant, changed_at, tenant) WHERE changed_at IS NOT NULL;
-- Bodies of delivered events whose hook has `keep`, sealed under the master secret: each opens only as its event's.
CREATE TABLE IF NOT EXISTS kept_bodies (
    seq    INTEGER PRIMARY KEY,
    tenant TEXT    NOT NULL,
    hook   INTEGER NOT NULL,           -- that it was delivered to
    call   TEXT,                       -- the room's sid, else its name
    at     INTEGER NOT NULL,           -- when it was delivered
    until  INTEGER NOT NULL,           -- it stays so long
    size   INTEGER NOT NULL,           -- bytes of the sealed body
    in_use INTEGER NOT NULL DEFAULT 0, -- 1: its event is being sent again, or was given up then: it stays with that
    body   BLOB    NOT NULL
);
-- What the sweeper looks through: without the bodies.
CREATE INDEX IF NOT EXISTS kept_bodies_swept ON kept_bodies (tenant, in_use, seq, size, hook, at, until);
CREATE INDEX IF NOT EXISTS kept_bodies_call ON kept_bodies (call, seq);
-- What routing read of each event of a SIP participant, and where the event went: longer than `events`, so that a
-- new hook table can be tried on past calls. In order of arrival; the oldest are removed first.
CREATE TABLE IF NOT EXISTS facts (
    n           INTEGER PRIMARY KEY,
    seq         INTEGER NOT NULL,  -- the event's row in `events`, which may be gone
    received_at INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,  -- as the columns of `events`, also below
    hook        INTEGER,
    call        TEXT,
    tenant      TEXT,
    space       TEXT,
    by_url      INTEGER,
    participant TEXT,
    sip         INTEGER NOT NULL,
    x_to_ip     TEXT,
    to_header   TEXT,
    number      TEXT,
    trunk       TEXT
);
CREATE INDEX IF NOT EXISTS facts_seq ON facts (seq);
-- Tenants whose data was, or is to be erased: what came before `asked_at`. Kept for 400 days.
CREATE TABLE IF NOT EXISTS erasures (
    id       INTEGER PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    asked_at INTEGER NOT NULL,
    event    INTEGER NOT NULL,  -- up to this row of `events`
    record   INTEGER NOT NULL,  -- up to this row of `audit`
    step     INTEGER NOT NULL,  -- what it is at, and the last key that was looked at
    cursor   TEXT    NOT NULL,
    report   TEXT    NOT NULL,  -- JSON: how much was erased
    done_at  INTEGER,
    UNIQUE (tenant, asked_at)
);

-- A row: whatever was ever deleted from this file was overwritten.
CREATE TABLE IF NOT EXISTS overwritten (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL
);
