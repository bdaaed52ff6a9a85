-- The queue of single days is looked at with every POST: it must not be searched among thousands of days of a backfill.
DROP INDEX runs_by_state;
CREATE INDEX runs_by_state ON runs (state, priority, id);
