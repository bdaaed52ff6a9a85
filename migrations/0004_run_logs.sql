-- The log lines of a run, as they were written on stdout, in the order of seq. A gap in seq is lines that were left out.
CREATE TABLE run_logs (
  run_id  TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  seq     INTEGER NOT NULL CHECK (seq >= 1),
  level   TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
  attempt INTEGER NOT NULL,
  line    TEXT NOT NULL CHECK (json_valid(line)),
  PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;
