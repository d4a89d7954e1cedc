-- Texts of desired states, each once a tenant.
CREATE TABLE desired_texts (
    tenant TEXT NOT NULL REFERENCES tenants (tenant),
    digest BLOB NOT NULL,
    text   TEXT NOT NULL,
    PRIMARY KEY (tenant, digest)
) WITHOUT ROWID;

-- What was asked for: of one gateway (`kind` 'gateway'), or of all of a group (`kind` 'group').
-- A section that is NULL is left to others. `version` counts the changes of the row.
CREATE TABLE desired_states (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    settings   BLOB,
    mapping    BLOB,
    changed_us BIGINT NOT NULL,
    changed_by TEXT   NOT NULL,
    PRIMARY KEY (tenant, kind, name)
) WITHOUT ROWID;

-- The groups of a gateway, in the order in which they are asked for a section.
CREATE TABLE gateway_groups (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway TEXT   NOT NULL,
    place   BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    PRIMARY KEY (tenant, gateway, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX gateway_groups_by_name ON gateway_groups (tenant, name, gateway);

-- What follows for each gateway, numbered (`revision`; 0: nothing was ever asked for), and how far
-- it has judged that (`judged`); another `epoch` is another numbering. And what it says that it is
-- like: NULL until it has said so.
CREATE TABLE gateways (
    tenant             TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway            TEXT   NOT NULL,
    epoch              BIGINT NOT NULL,
    revision           BIGINT NOT NULL,
    judged             BIGINT NOT NULL,
    settings           BLOB,
    mapping            BLOB,
    desired_us         BIGINT,
    said_us            BIGINT,
    version            TEXT,
    started_us         BIGINT,
    runs_revision      BIGINT,
    last_revision      BIGINT,
    verdict            TEXT,
    verdict_us         BIGINT,
    flaws              TEXT,
    spool_bytes        BIGINT,
    waiting_bytes      BIGINT,
    links              BIGINT,
    certificate_end_us BIGINT,
    link               TEXT,
    PRIMARY KEY (tenant, gateway)
);
CREATE INDEX gateways_behind ON gateways (tenant, gateway) WHERE judged < revision;
