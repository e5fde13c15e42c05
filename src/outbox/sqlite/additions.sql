-- What databases of version 3 did not have at first: each statement changes nothing where it was run before.

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
