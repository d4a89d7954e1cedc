-- Runs that something on a chain has caused. `cause` names it, `body` (JSON) is what is known of it and
-- what each step makes of that, `version` counts its changes, and a change names the one that it
-- follows. `opened` has a bit a step that may be done; `wakes_us` is when time, or the end of a command,
-- has to be told (NULL: never).
CREATE TABLE caused_runs (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    run      BLOB   NOT NULL,
    cause    BLOB   NOT NULL,
    version  BIGINT NOT NULL,
    body     TEXT   NOT NULL,
    opened   BIGINT NOT NULL,
    wakes_us BIGINT,
    PRIMARY KEY (tenant, run),
    FOREIGN KEY (tenant, run) REFERENCES runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX caused_runs_by_cause ON caused_runs (cause, tenant, run);
CREATE INDEX caused_runs_waking ON caused_runs (wakes_us) WHERE wakes_us IS NOT NULL;

-- At which newest or final block of a chain more is to be known of a cause.
CREATE TABLE caused_waits (
    tenant    TEXT   NOT NULL,
    run       BLOB   NOT NULL,
    chain     TEXT   NOT NULL,
    newest    BIGINT,
    finalized BIGINT,
    PRIMARY KEY (tenant, run, chain),
    FOREIGN KEY (tenant, run) REFERENCES caused_runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX caused_waits_newest ON caused_waits (chain, newest) WHERE newest IS NOT NULL;
CREATE INDEX caused_waits_finalized ON caused_waits (chain, finalized) WHERE finalized IS NOT NULL;

-- Commands of caused runs that are under way.
CREATE TABLE caused_commands (
    tenant  TEXT NOT NULL,
    command BLOB NOT NULL,
    run     BLOB NOT NULL,
    PRIMARY KEY (tenant, command),
    FOREIGN KEY (tenant, run) REFERENCES caused_runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX caused_commands_by_run ON caused_commands (tenant, run);

-- What happened to a run's cause, and what was told to devices because of that, in order.
CREATE TABLE caused_turns (
    tenant  TEXT   NOT NULL,
    run     BLOB   NOT NULL,
    number  BIGINT NOT NULL,
    step    BIGINT,
    kind    TEXT   NOT NULL,
    at_us   BIGINT NOT NULL,
    command BLOB,
    detail  TEXT,
    PRIMARY KEY (tenant, run, number),
    FOREIGN KEY (tenant, run) REFERENCES caused_runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;
