-- Times are microseconds since the Unix epoch; booleans are 0 and 1.
-- Tables that are read and written by their whole key have no rowid: one B-tree
-- instead of two for each write of the pipeline.

CREATE TABLE tenants (
    tenant     TEXT   NOT NULL PRIMARY KEY,
    created_us BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    tenant        TEXT   NOT NULL REFERENCES tenants (tenant),
    token         TEXT   NOT NULL,
    secret_sha256 BLOB   NOT NULL UNIQUE,
    kind          TEXT   NOT NULL,
    role          TEXT,
    device        TEXT,
    name          TEXT   NOT NULL,
    created_us    BIGINT NOT NULL,
    revoked_us    BIGINT,
    PRIMARY KEY (tenant, token)
);

-- One row: how far the pipeline is in the log, and the number of the newest
-- tail row. `tail` is also the fence against a second writer.
CREATE TABLE pipeline (
    one      BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL,
    tail     BIGINT NOT NULL
);
INSERT INTO pipeline (one, position, tail) VALUES (1, 0, 0);

CREATE TABLE ledgers (
    tenant TEXT   NOT NULL,
    device TEXT   NOT NULL,
    boot   BIGINT NOT NULL,
    body   BLOB   NOT NULL,
    PRIMARY KEY (tenant, device, boot)
) WITHOUT ROWID;

CREATE TABLE devices (
    tenant           TEXT   NOT NULL,
    device           TEXT   NOT NULL,
    gateway          TEXT,
    gateway_us       BIGINT,
    numbered         BIGINT NOT NULL,
    connected        BIGINT,
    link_changed_us  BIGINT,
    link             TEXT,
    last_event_us    BIGINT,
    last_received_us BIGINT,
    PRIMARY KEY (tenant, device)
) WITHOUT ROWID;
CREATE INDEX devices_by_gateway ON devices (tenant, gateway);

CREATE TABLE twins (
    tenant      TEXT   NOT NULL,
    device      TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    value       BLOB   NOT NULL,
    unit        TEXT,
    time_us     BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    gateway     TEXT,
    link        TEXT,
    PRIMARY KEY (tenant, device, name)
) WITHOUT ROWID;
CREATE INDEX twins_by_name ON twins (tenant, name, device);

CREATE TABLE rule_states (
    tenant   TEXT NOT NULL,
    workflow TEXT NOT NULL,
    device   TEXT NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (tenant, workflow, device)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    tenant   TEXT   NOT NULL,
    position BIGINT NOT NULL,
    ordinal  BIGINT NOT NULL,
    device   TEXT,
    topic    TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    path     TEXT,
    payload  BLOB   NOT NULL,
    at_us    BIGINT NOT NULL,
    PRIMARY KEY (tenant, position, ordinal)
);

-- `sealed_through`: the newest tail row of which this series' points are in
-- chunks already.
CREATE TABLE series (
    series         BIGINT NOT NULL PRIMARY KEY,
    tenant         TEXT   NOT NULL,
    device         TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    unit           TEXT,
    sealed_through BIGINT NOT NULL,
    UNIQUE (tenant, device, name)
);

-- The chunks of a series never overlap.
CREATE TABLE series_chunks (
    series  BIGINT NOT NULL REFERENCES series (series),
    from_us BIGINT NOT NULL,
    to_us   BIGINT NOT NULL,
    points  BIGINT NOT NULL,
    body    BLOB   NOT NULL,
    PRIMARY KEY (series, from_us)
);

-- Chunks that could not be read when points were to be put into them: moved
-- aside, so that the pipeline goes on and nothing is thrown away.
CREATE TABLE series_damaged (
    series  BIGINT NOT NULL,
    from_us BIGINT NOT NULL,
    to_us   BIGINT NOT NULL,
    points  BIGINT NOT NULL,
    body    BLOB   NOT NULL
);

-- Points of one commit, of all series; gone when all of them are in chunks.
CREATE TABLE series_tail (
    tail INTEGER NOT NULL PRIMARY KEY,
    body BLOB    NOT NULL
);

CREATE TABLE workflows (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    workflow   TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    yaml       TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    active     BIGINT NOT NULL,
    PRIMARY KEY (tenant, workflow, version)
);
CREATE UNIQUE INDEX workflows_active ON workflows (tenant, workflow) WHERE active = 1;

-- `due_us` is NULL when the run has ended.
CREATE TABLE runs (
    tenant   TEXT   NOT NULL,
    run      BLOB   NOT NULL,
    workflow TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    event    TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    at_us    BIGINT NOT NULL,
    due_us   BIGINT,
    fence    BIGINT NOT NULL,
    ended_us BIGINT,
    error    TEXT,
    PRIMARY KEY (tenant, run)
);
CREATE INDEX runs_due ON runs (due_us, at_us) WHERE due_us IS NOT NULL;
CREATE INDEX runs_ended ON runs (tenant, ended_us) WHERE ended_us IS NOT NULL;
CREATE INDEX runs_newest ON runs (tenant, at_us, run);
CREATE INDEX runs_by_state ON runs (tenant, state, at_us, run);
CREATE INDEX runs_by_workflow ON runs (tenant, workflow, at_us, run);

CREATE TABLE steps (
    tenant      TEXT   NOT NULL,
    run         BLOB   NOT NULL,
    step        BIGINT NOT NULL,
    id          TEXT   NOT NULL,
    uses        TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    attempts    BIGINT NOT NULL,
    next_at_us  BIGINT,
    output      TEXT,
    error       TEXT,
    effect_key  TEXT   NOT NULL,
    waiting_for BLOB,
    PRIMARY KEY (tenant, run, step),
    FOREIGN KEY (tenant, run) REFERENCES runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX steps_waiting ON steps (tenant, waiting_for) WHERE waiting_for IS NOT NULL;

CREATE TABLE attempts (
    tenant     TEXT   NOT NULL,
    run        BLOB   NOT NULL,
    step       BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    started_us BIGINT NOT NULL,
    ended_us   BIGINT NOT NULL,
    error      TEXT,
    PRIMARY KEY (tenant, run, step, number),
    FOREIGN KEY (tenant, run) REFERENCES runs (tenant, run) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE entries (
    tenant       TEXT   NOT NULL REFERENCES tenants (tenant),
    collection   TEXT   NOT NULL,
    entry        TEXT   NOT NULL,
    newest       BIGINT NOT NULL,
    published    BIGINT,
    published_us BIGINT,
    PRIMARY KEY (tenant, collection, entry)
) WITHOUT ROWID;

CREATE TABLE versions (
    tenant     TEXT   NOT NULL,
    collection TEXT   NOT NULL,
    entry      TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    fields     TEXT   NOT NULL,
    effect_key TEXT,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, collection, entry, version),
    FOREIGN KEY (tenant, collection, entry) REFERENCES entries (tenant, collection, entry)
);

-- What an effect key did, so that it is done once.
CREATE TABLE effects (
    tenant     TEXT   NOT NULL,
    effect_key TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    collection TEXT   NOT NULL,
    entry      TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    at_us      BIGINT NOT NULL,
    PRIMARY KEY (tenant, effect_key)
) WITHOUT ROWID;
CREATE INDEX effects_by_age ON effects (tenant, at_us);

CREATE TABLE commands (
    tenant     TEXT   NOT NULL,
    command    BLOB   NOT NULL,
    device     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    argument   BLOB,
    expires_us BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    detail     TEXT,
    effect_key TEXT,
    queued_us  BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, command)
);
CREATE UNIQUE INDEX commands_effect ON commands (tenant, effect_key)
    WHERE effect_key IS NOT NULL;
CREATE INDEX commands_queued ON commands (queued_us) WHERE state = 'queued';
CREATE INDEX commands_open ON commands (expires_us)
    WHERE state IN ('queued', 'sent', 'acknowledged');
CREATE INDEX commands_by_device ON commands (tenant, device, state, queued_us);
CREATE INDEX commands_newest ON commands (tenant, queued_us, command);
