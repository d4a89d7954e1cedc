-- One row an episode: a rule that became active for a device, until it was no more. `severity`
-- is its rank: 1 warning, 2 minor, 3 major, 4 critical.
CREATE TABLE alarms (
    tenant            TEXT   NOT NULL,
    alarm             BLOB   NOT NULL,
    workflow          TEXT   NOT NULL,
    version           BIGINT NOT NULL,
    device            TEXT   NOT NULL,
    severity          BIGINT NOT NULL,
    title             TEXT   NOT NULL,
    raised_us         BIGINT NOT NULL,
    value             DOUBLE PRECISION,
    cleared_us        BIGINT,
    cleared_why       TEXT,
    acknowledged_us   BIGINT,
    acknowledged_by   TEXT,
    acknowledged_note TEXT,
    PRIMARY KEY (tenant, alarm)
);
CREATE UNIQUE INDEX alarms_active ON alarms (tenant, workflow, device) WHERE cleared_us IS NULL;
CREATE INDEX alarms_active_newest ON alarms (tenant, raised_us, alarm) WHERE cleared_us IS NULL;
CREATE INDEX alarms_newest ON alarms (tenant, raised_us, alarm);
CREATE INDEX alarms_by_device ON alarms (tenant, device, raised_us, alarm);
CREATE INDEX alarms_by_workflow ON alarms (tenant, workflow, raised_us, alarm);
CREATE INDEX alarms_cleared ON alarms (tenant, cleared_us) WHERE cleared_us IS NOT NULL;

-- What happened to an alarm, in the order in which it was stored.
CREATE TABLE alarm_events (
    tenant   TEXT   NOT NULL,
    alarm    BLOB   NOT NULL,
    ordinal  BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    at_us    BIGINT NOT NULL,
    who      TEXT,
    note     TEXT,
    until_us BIGINT,
    PRIMARY KEY (tenant, alarm, ordinal),
    FOREIGN KEY (tenant, alarm) REFERENCES alarms (tenant, alarm) ON DELETE CASCADE
) WITHOUT ROWID;

-- A silence is of a rule and a device, so that it outlives the episode in which it was asked for.
CREATE TABLE alarm_silences (
    tenant   TEXT   NOT NULL,
    workflow TEXT   NOT NULL,
    device   TEXT   NOT NULL,
    until_us BIGINT NOT NULL,
    who      TEXT   NOT NULL,
    PRIMARY KEY (tenant, workflow, device)
) WITHOUT ROWID;
CREATE INDEX alarm_silences_ended ON alarm_silences (tenant, until_us);
