-- What made version 2 of version 1.
ALTER TABLE events ADD COLUMN replayed_at INTEGER;
ALTER TABLE events ADD COLUMN before_reason TEXT;
ALTER TABLE events ADD COLUMN dead_at INTEGER;
ALTER TABLE attempts ADD COLUMN url TEXT;
UPDATE events SET replayed_at = freed_at, before_reason = 'expired', dead_at =
    (SELECT max(at) FROM attempts WHERE attempts.seq = events.seq AND at < freed_at)
    WHERE seq IN (SELECT seq FROM attempts)
    AND freed_at > (SELECT min(at) FROM attempts WHERE attempts.seq = events.seq);
PRAGMA user_version = 2;
