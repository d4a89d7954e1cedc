-- Who may sign a tenant's updates: the text of its three public keys, and which devices they may be
-- for (JSON).
CREATE TABLE update_trust (
    tenant     TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    keys       TEXT   NOT NULL,
    classes    TEXT   NOT NULL,
    changed_us BIGINT NOT NULL
) WITHOUT ROWID;

-- Images whose signatures were verified; the payload is a file that is named by the digest.
CREATE TABLE images (
    tenant    TEXT   NOT NULL REFERENCES tenants (tenant),
    digest    BLOB   NOT NULL,
    vendor    BLOB   NOT NULL,
    class     BLOB   NOT NULL,
    sequence  BIGINT NOT NULL,
    version   TEXT   NOT NULL,
    size      BIGINT NOT NULL,
    envelope  BLOB   NOT NULL,
    pushed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, digest)
);
CREATE UNIQUE INDEX images_order ON images (tenant, vendor, class, sequence);
CREATE INDEX images_payload ON images (digest);

-- What devices said last that they run.
CREATE TABLE device_images (
    tenant      TEXT   NOT NULL,
    device      TEXT   NOT NULL,
    gateway     TEXT,
    digest      BLOB   NOT NULL,
    sequence    BIGINT NOT NULL,
    class       TEXT   NOT NULL,
    version     TEXT,
    trial       BIGINT NOT NULL,
    reported_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, device)
) WITHOUT ROWID;

-- `head` is what the pipeline keeps of a roll-out, NULL until it has begun.
CREATE TABLE rollouts (
    tenant     TEXT   NOT NULL,
    rollout    BLOB   NOT NULL,
    image      BLOB   NOT NULL,
    plan       TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    is_over    BIGINT NOT NULL,
    head       TEXT,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, rollout)
);
CREATE INDEX rollouts_newest ON rollouts (tenant, created_us, rollout);
CREATE INDEX rollouts_open ON rollouts (tenant) WHERE is_over = 0;

CREATE TABLE rollout_devices (
    tenant   TEXT   NOT NULL,
    rollout  BLOB   NOT NULL,
    device   TEXT   NOT NULL,
    gateway  TEXT,
    phase    TEXT   NOT NULL,
    percent  BIGINT,
    detail   TEXT,
    since_us BIGINT NOT NULL,
    body     TEXT   NOT NULL,
    PRIMARY KEY (tenant, rollout, device)
) WITHOUT ROWID;
CREATE INDEX rollout_devices_by_phase ON rollout_devices (tenant, rollout, phase, device);
CREATE INDEX rollout_devices_wanted ON rollout_devices (tenant, gateway)
    WHERE phase IN ('offered', 'downloading', 'installed');
CREATE INDEX rollout_devices_by_device ON rollout_devices (tenant, device);

CREATE TABLE rollout_notices (
    tenant   TEXT   NOT NULL,
    rollout  BLOB   NOT NULL,
    position BIGINT NOT NULL,
    ordinal  BIGINT NOT NULL,
    at_us    BIGINT NOT NULL,
    body     TEXT   NOT NULL,
    PRIMARY KEY (tenant, rollout, position, ordinal)
) WITHOUT ROWID;
