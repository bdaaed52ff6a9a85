-- A place kept for the migration of the API: it is replaced when the branches are merged.
SELECT 1;
