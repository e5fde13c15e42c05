-- Version 1; schema.rs lists what later versions add.
--
-- Names that LiveKit gives (events.id, call, room) are followed by @ and the tenant where the tenant's own
-- LiveKit gave them, and by @ alone where they hold one themselves: they are unique in their space only.

-- One row per event LiveKit sent, in the order of arrival. An event goes to one hook at most, so
-- its delivery is the same row.
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL,  -- webhook-id
    event         TEXT    NOT NULL,  -- LiveKit's event name
    call          TEXT,              -- the room's sid
    room          TEXT,              -- the room's name
    who           TEXT,              -- the participant's identity
    created_at    INTEGER,           -- LiveKit's createdAt, Unix seconds
    received_at   INTEGER NOT NULL,  -- Unix milliseconds, as all times below
    domain        TEXT,              -- the SIP domain it names
    outcome       TEXT    NOT NULL,  -- the rule that routed it, or the reason it is unrouted
    issuer        TEXT,              -- the API key LiveKit signed with
    size          INTEGER NOT NULL,  -- bytes of the body
    state         INTEGER NOT NULL,  -- 0 pending, 1 delivered, 2 dead letter, 3 unrouted, 4 held,
                                     -- 5 unrouted, of a room without SIP
    hook          INTEGER,
    bound_url     TEXT,              -- where its call was bound to go; once tried: where it was posted to
    bound_format  TEXT,
    chain         INTEGER,
    sequence      INTEGER,           -- from 1, per call and hook
    paused_before INTEGER,           -- ms the hook had been paused in all when the event came
    attempts      INTEGER NOT NULL DEFAULT 0,
    due           INTEGER,           -- when to try again; none before the first failure
    parked        INTEGER NOT NULL DEFAULT 0,  -- 1: pending, and found by `events_parked`
    -- The last attempt; earlier ones are in `attempts`.
    attempted_at  INTEGER,
    status        INTEGER,
    fault         TEXT,
    latency_us    INTEGER,
    settled_at    INTEGER,           -- delivered or given up
    freed_at      INTEGER,           -- released or replayed: its age counts from here
    dead_reason   TEXT
);
-- A duplicate is refused by this index, in the transaction that would store it.
CREATE UNIQUE INDEX events_id ON events (id);
-- Most deliveries are done within milliseconds: an index entry for each would cost two more page
-- writes. So only what still waits after a while is parked here; what is younger than `progress` is
-- found by reading the end of the table.
CREATE INDEX events_parked ON events (hook, seq, chain, due) WHERE parked = 1;
-- What is kept for replay, by kind, oldest first. Delivered rows are found by walking the table: an
-- index entry for each would cost every delivery a page.
CREATE INDEX events_kept ON events (state, seq, size) WHERE state >= 2;
-- What waits for its call to be bound, and what is unrouted: by session, or by name where the event
-- knows no session. With all that the list of what is unrouted needs.
CREATE INDEX events_waiting ON events (call, room, outcome, domain, received_at) WHERE state >= 3;

-- Bodies apart: a delivered event leaves its row as history, without the body.
CREATE TABLE bodies (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);
-- Those of the youngest deliveries: most are done before anybody reads them here, and the next one is
-- written over them in place. A slot whose event no longer waits is free.
CREATE TABLE ring (
    slot INTEGER PRIMARY KEY,  -- seq modulo the number of slots
    seq  INTEGER NOT NULL,
    body BLOB    NOT NULL
);

-- Failed attempts.
CREATE TABLE attempts (
    seq        INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    status     INTEGER,
    fault      TEXT,
    latency_us INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) WITHOUT ROWID;

-- One row per room session, and the hook it is bound to.
CREATE TABLE calls (
    call        TEXT    PRIMARY KEY,  -- the room's sid
    room        TEXT,                 -- its name
    hook        INTEGER,              -- none: not bound yet
    url         TEXT,                 -- the hook's when it was bound
    format      TEXT,
    participant TEXT,                 -- the sid of the participant that bound it
    shared      INTEGER NOT NULL DEFAULT 0,
    sip         INTEGER NOT NULL DEFAULT 0,  -- 1: a SIP participant was seen in it
    began_at    INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,     -- the last event, give or take an hour
    finished_at INTEGER
) WITHOUT ROWID;
-- Events that know only the name mean the session that was first seen last.
CREATE INDEX calls_room ON calls (room, began_at);

-- Further SIP participants the rules have placed, or could not place.
CREATE TABLE participants (
    call        TEXT NOT NULL,
    participant TEXT NOT NULL,        -- its sid
    hook        INTEGER,              -- none: nowhere, for this reason
    url         TEXT,
    format      TEXT,
    reason      TEXT,
    domain      TEXT,
    PRIMARY KEY (call, participant)
) WITHOUT ROWID;

-- The last domain and tenant each called number came with, and the one before: if that changes, an edge
-- or a carrier may have been changed by mistake.
CREATE TABLE numbers (
    number        TEXT PRIMARY KEY,
    domain        TEXT NOT NULL,
    tenant        TEXT,
    seen_at       INTEGER NOT NULL,  -- give or take a day
    before_domain TEXT,
    before_tenant TEXT,
    changed_at    INTEGER,
    call          TEXT               -- the call it changed with
) WITHOUT ROWID;
CREATE INDEX numbers_changed ON numbers (changed_at) WHERE changed_at IS NOT NULL;

-- Where each call's numbering at each hook stands, as far as `progress` says.
CREATE TABLE chains (
    chain    INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL
);

-- Up to this row, all that waits is parked and `chains` is complete.
CREATE TABLE progress (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
);
INSERT INTO progress VALUES (1, 0);

-- Every hook that is or was, so that what was routed to it keeps its destination.
CREATE TABLE hooks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    kept       BLOB,               -- sealed: secrets and settings where they are not the defaults
    removed_at INTEGER,
    paused_at  INTEGER,            -- set while paused
    paused_by  TEXT,               -- 'gone' (410) or 'file'
    paused_ms  INTEGER NOT NULL DEFAULT 0  -- in all, before the present pause
);
CREATE UNIQUE INDEX hooks_host ON hooks (host) WHERE removed_at IS NULL;

-- How often a tenant's derived secret was renewed, and when last; absent: 1, never.
CREATE TABLE tenants (
    tenant     TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    rotated_at INTEGER
) WITHOUT ROWID;
