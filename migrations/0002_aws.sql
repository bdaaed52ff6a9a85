-- What the AWS layer needs: what the inputs were, object by object, and how a run is to be retried.

-- Inputs by fingerprint: runs over the same inputs share one. Lines of name, size and version, tab separated.
CREATE TABLE manifests (
  fingerprint TEXT PRIMARY KEY,
  listing     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Publish also against the guard, and what is published already.
ALTER TABLE runs ADD COLUMN force INTEGER NOT NULL DEFAULT 0 CHECK (force IN (0, 1));
-- The next attempt publishes the results that were kept.
ALTER TABLE runs ADD COLUMN from_publish INTEGER NOT NULL DEFAULT 0 CHECK (from_publish IN (0, 1));
-- The inputs that the kept results were computed from; input_fingerprint: those that were listed last.
ALTER TABLE runs ADD COLUMN results_fingerprint TEXT;
-- Every category of the products data: rows of others are stale.
ALTER TABLE runs ADD COLUMN categories_json TEXT CHECK (categories_json IS NULL OR json_valid(categories_json));
