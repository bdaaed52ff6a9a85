-- Backfills are listed with what their runs have come to: that is read without the rest of the runs.
CREATE INDEX runs_counted ON runs (id, state, finished_at);
