-- The last runs of each schedule.

ALTER TABLE schedules ADD COLUMN recent TEXT NOT NULL DEFAULT '';
