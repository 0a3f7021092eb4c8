-- For databases that keep old versions of rows; 0 here.
ALTER TABLE queues ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
ALTER TABLE took ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
