-- When the end of a job is tried that nobody waits for any more: its cluster may be gone, and is not asked again and again at once.
ALTER TABLE engine_jobs ADD COLUMN given_up_at INTEGER;
ALTER TABLE engine_jobs ADD COLUMN next_try_at INTEGER;
ALTER TABLE engine_jobs ADD COLUMN failed_tries INTEGER NOT NULL DEFAULT 0;
