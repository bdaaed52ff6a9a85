-- Engines beside the native one: what a run is asked to be computed by, and what it is computed by once that is decided.
ALTER TABLE runs ADD COLUMN engine_asked TEXT NOT NULL DEFAULT 'native' CHECK (engine_asked IN ('native', 'spark', 'auto'));
ALTER TABLE runs ADD COLUMN engine_used TEXT NOT NULL DEFAULT 'native' CHECK (engine_used IN ('native', 'spark', 'auto'));
ALTER TABLE runs DROP COLUMN engine;
ALTER TABLE runs RENAME COLUMN engine_used TO engine;
ALTER TABLE backfills ADD COLUMN engine TEXT NOT NULL DEFAULT 'native' CHECK (engine IN ('native', 'spark', 'auto'));

-- Jobs that were handed to a cluster. The owner is a run, which may have others computed with it, or a backfill that looks for
-- its days; numbers are never used again, since clusters and files of a job go by them.
CREATE TABLE engine_jobs (
  owner       TEXT NOT NULL CHECK (length(owner) = 36),
  number      INTEGER NOT NULL CHECK (number >= 1),
  stage       TEXT NOT NULL CHECK (stage IN ('handed', 'given_up', 'over')),
  spec_sha256 TEXT NOT NULL,
  job_id      TEXT,
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (owner, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX engine_jobs_to_end ON engine_jobs (stage) WHERE stage <> 'over';

-- The runs that wait for such a job: they are claimed together again after a restart.
ALTER TABLE runs ADD COLUMN engine_job_owner TEXT;
CREATE INDEX runs_by_engine_job ON runs (engine_job_owner) WHERE engine_job_owner IS NOT NULL;
