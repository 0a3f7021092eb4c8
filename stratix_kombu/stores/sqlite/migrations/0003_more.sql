-- Fields that jobs were added with and that have no column of their own, as JSON; '' for none.
ALTER TABLE jobs ADD COLUMN more TEXT NOT NULL DEFAULT '';
