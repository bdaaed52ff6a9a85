-- The queue is asked for at every request: what that costs must not grow with it.

CREATE INDEX runs_queue ON runs (priority, id) WHERE state = 'queued';

-- One row: how many runs are queued.
CREATE TABLE queue (queued INTEGER NOT NULL CHECK (queued >= 0)) STRICT;
INSERT INTO queue SELECT count(*) FROM runs WHERE state = 'queued';

CREATE TRIGGER queue_on_insert AFTER INSERT ON runs WHEN new.state = 'queued'
BEGIN
  UPDATE queue SET queued = queued + 1;
END;
CREATE TRIGGER queue_on_move AFTER UPDATE OF state ON runs WHEN (new.state = 'queued') <> (old.state = 'queued')
BEGIN
  UPDATE queue SET queued = queued + iif(new.state = 'queued', 1, -1);
END;
CREATE TRIGGER queue_on_delete AFTER DELETE ON runs WHEN old.state = 'queued'
BEGIN
  UPDATE queue SET queued = queued - 1;
END;
