-- Looking for the days of the data has attempts, as a run has.

ALTER TABLE backfills ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE backfills ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0);
-- Of a search that is queued, but not before then.
ALTER TABLE backfills ADD COLUMN next_attempt_at INTEGER;

DROP INDEX backfills_to_discover;
CREATE INDEX backfills_to_search ON backfills (next_attempt_at, id) WHERE discovery = 'queued';
