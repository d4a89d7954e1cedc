-- The gateway that has got a command, `*`: several have. Since when who waits for a command has been
-- told that nobody knows what became of it.
ALTER TABLE commands ADD COLUMN gateway TEXT;
ALTER TABLE commands ADD COLUMN overdue_us BIGINT;
-- Whatever was handed over before this column was there may be anywhere.
UPDATE commands SET gateway = '*' WHERE state <> 'queued';

DROP INDEX commands_open;
CREATE INDEX commands_open ON commands (expires_us)
    WHERE state IN ('queued', 'sent', 'acknowledged') AND overdue_us IS NULL;
