-- Version 4. A database of version 3 is amended, that of an older release is copied into a new one: see schema/.
--
-- Names that LiveKit gives (events.id, call, room) are followed by @ and the tenant where the tenant's own
-- LiveKit gave them, and by @ alone where they hold one themselves: they are unique in their space only.
--
-- `tenant` is whose a row is, absent while it is nobody's. `space` is the tenant whose own LiveKit key signed
-- the event, absent for the platform's LiveKit.

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
    dead_reason   TEXT,
    -- Set when an operator has it sent again: when, why it was a dead letter or had no hook before, and when it
    -- had been given up, if it was a dead letter.
    replayed_at   INTEGER,
    before_reason TEXT,
    dead_at       INTEGER,
    tenant        TEXT,
    space         TEXT,
    by_url        INTEGER,           -- 1: it came by its tenant's own URL
    -- What routing reads of a participant's event, so that it is routed again without its body.
    participant   TEXT,              -- the participant's sid
    sip           INTEGER,           -- 1 an inbound caller, 2 an outbound SIP participant
    x_to_ip       TEXT,              -- sip.h.x-to-ip
    to_header     TEXT,              -- sip.h.to
    number        TEXT,              -- sip.trunkPhoneNumber
    trunk         TEXT,              -- sip.trunkID
    bytes         INTEGER,           -- of the body as LiveKit sent it, once `size` is less: it is not kept
    -- Absent in rows up to `unsummed` of `progress`: see schema/sums.rs.
    sum           INTEGER,           -- over what decides who gets the event, and its body's SHA-256
    bound_sum     INTEGER            -- over bound_url and bound_format as long as it was not tried
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
    url        TEXT,              -- where it was posted to
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
    finished_at INTEGER,
    tenant      TEXT,                 -- of the hook it is bound to, or was until it was cut off
    space       TEXT,
    erased      INTEGER,              -- 1: its tenant's data was erased, and its name goes with its end
    sum         INTEGER               -- over what decides who gets its events: see schema/sums.rs
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
    tenant      TEXT,                 -- of the hook it is placed at
    space       TEXT,
    sum         INTEGER,              -- over all of it
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

-- Where each call's numbering at each hook stands, up to `numbered` of `progress`.
CREATE TABLE chains (
    chain    INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL
);

CREATE TABLE progress (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    seq      INTEGER NOT NULL,           -- up to this row, all that waits is parked
    numbered INTEGER NOT NULL DEFAULT 0, -- up to this row, `chains` is complete
    digested INTEGER NOT NULL DEFAULT 0, -- up to this row, what is derived from many events at once is stored
    unsummed INTEGER NOT NULL DEFAULT 0  -- up to this row, events are of a release that kept no sums
);
INSERT INTO progress VALUES (1, 0, 0, 0, 0);

-- Every hook that is or was, so that what was routed to it keeps its destination.
CREATE TABLE hooks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    layer      TEXT    NOT NULL,   -- 'file' or 'api'
    kept       BLOB,               -- sealed: secrets and settings where they are not the defaults
    version    INTEGER NOT NULL,   -- rises with every change
    created_at INTEGER,
    changed_at INTEGER,
    removed_at INTEGER,
    paused_at  INTEGER,            -- set while paused
    paused_by  TEXT,               -- 'gone' (410), 'file' or 'api'
    paused_ms  INTEGER NOT NULL DEFAULT 0, -- in all, before the present pause
    sum        INTEGER             -- over what decides who gets what goes to it: see schema/sums.rs
);
-- The hooks file and the API may both have a hook for a host; the file's is in force.
CREATE UNIQUE INDEX hooks_host ON hooks (host, layer) WHERE removed_at IS NULL;

-- What is known of a tenant besides its hooks; absent: generation 1.
CREATE TABLE tenants (
    tenant     TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,  -- how often its derived secret was renewed
    rotated_at INTEGER,           -- and when last
    revoked_at INTEGER,           -- its tokens that were issued before are refused
    sum        INTEGER            -- over all of it
) WITHOUT ROWID;

-- Single API tokens that are refused, until they expire.
CREATE TABLE revoked_tokens (
    jti        TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL,
    sum        INTEGER            -- over all of it
) WITHOUT ROWID;

-- What was asked for over the API: written in the transaction of the change, never altered. Kept for 400 days,
-- at most a million rows.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,  -- 'operator', or the tenant's name
    token   TEXT,              -- the id (jti) of its token
    address TEXT,              -- where the request came from
    tenant  TEXT,              -- whose thing it is
    action  TEXT    NOT NULL,  -- 'hook.put' …
    target  TEXT    NOT NULL,  -- a host, an id …
    before  TEXT,              -- JSON without secrets, as below
    after   TEXT,
    outcome TEXT    NOT NULL   -- 'done', or 'refused: …'
);
CREATE INDEX audit_tenant ON audit (tenant, id) WHERE tenant IS NOT NULL;
CREATE INDEX audit_actor ON audit (actor, id);

-- The database of an older release that this one took over from; its history is copied in the background.
CREATE TABLE predecessor (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    file       TEXT    NOT NULL,  -- its name in the data directory
    version    INTEGER NOT NULL,
    young_from INTEGER NOT NULL,  -- delivered events before this row are history
    kept_from  INTEGER NOT NULL,  -- so are dead letters and unrouted events before this one
    copied     INTEGER NOT NULL,  -- history up to this row is copied
    done_at    INTEGER            -- all of it is copied: the file may be deleted
);

-- For people: what became of each event, the newest first.
-- sqlite3 switchhook.db "SELECT * FROM happened LIMIT 20"
CREATE VIEW happened AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%fZ', received_at / 1000.0, 'unixepoch') AS received_at,
    events.id AS id,
    event,
    events.call AS call,
    events.room AS room,
    events.tenant AS tenant,
    hooks.host AS host,
    CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'dead' WHEN 4 THEN 'held'
        ELSE 'unrouted' END AS state,
    CASE WHEN state = 2 THEN dead_reason ELSE outcome END AS reason,
    CASE
        WHEN state = 4 THEN 'held: waits for its call'
        WHEN state >= 3 THEN 'unrouted: ' || outcome
        WHEN state = 0 AND hooks.paused_at IS NOT NULL THEN 'pending: its hook is paused'
        WHEN state = 0 AND attempts = 0 THEN 'pending: not tried yet'
        ELSE
            CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' ELSE 'dead letter: ' || dead_reason END
            || ': attempt ' || attempts || CASE
                WHEN state = 1 THEN ' answered ' || status
                ELSE ' failed with ' || coalesce(status, fault, 'no answer') END
            || CASE WHEN due IS NOT NULL
                THEN ', next at ' || strftime('%Y-%m-%dT%H:%M:%fZ', due / 1000.0, 'unixepoch')
                ELSE strftime(' at %Y-%m-%dT%H:%M:%fZ', attempted_at / 1000.0, 'unixepoch') END
    END AS what,
    seq
FROM events LEFT JOIN hooks ON hooks.id = events.hook
ORDER BY seq DESC;
