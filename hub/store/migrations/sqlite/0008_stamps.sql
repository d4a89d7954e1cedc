-- Times that chunks of several series of one device have in common. A chunk that refers to them
-- holds no times of its own.
CREATE TABLE series_stamps (
    stamps INTEGER NOT NULL PRIMARY KEY,
    body   BLOB    NOT NULL
);
ALTER TABLE series_chunks ADD COLUMN stamps BIGINT REFERENCES series_stamps (stamps);
CREATE INDEX series_chunks_by_stamps ON series_chunks (stamps) WHERE stamps IS NOT NULL;

-- They go with the last chunk that refers to them, whatever it is that deletes it.
CREATE TRIGGER series_stamps_freed AFTER DELETE ON series_chunks WHEN OLD.stamps IS NOT NULL
BEGIN
    DELETE FROM series_stamps WHERE stamps = OLD.stamps
        AND NOT EXISTS (SELECT 1 FROM series_chunks WHERE stamps = OLD.stamps);
END;

-- The times that a chunk referred to when it was moved aside.
ALTER TABLE series_damaged ADD COLUMN stamps BLOB;
