-- Proof of data. Gateways that seal what their devices say, in this chain, from the last word on that on.
CREATE TABLE sealing_gateways (
    tenant  TEXT NOT NULL REFERENCES tenants (tenant),
    gateway TEXT NOT NULL,
    epoch   BLOB NOT NULL,
    PRIMARY KEY (tenant, gateway)
) WITHOUT ROWID;

-- The certificates by whose keys they sign, by their SHA-256.
CREATE TABLE sealing_keys (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway     TEXT   NOT NULL,
    fingerprint BLOB   NOT NULL,
    certificate BLOB   NOT NULL,
    position    BIGINT NOT NULL,
    PRIMARY KEY (tenant, gateway, fingerprint)
);

-- What devices behind them said, byte for byte: seals are recomputed from this, and proofs are made of it.
CREATE TABLE sealed_batches (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    device      TEXT   NOT NULL,
    boot        BIGINT NOT NULL,
    first       BIGINT NOT NULL,
    last        BIGINT NOT NULL,
    position    BIGINT NOT NULL,
    from_us     BIGINT NOT NULL,
    to_us       BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    body        BLOB   NOT NULL,
    PRIMARY KEY (tenant, device, boot, first, position)
);
CREATE INDEX sealed_batches_by_time ON sealed_batches (tenant, device, from_us);
CREATE INDEX sealed_batches_by_age ON sealed_batches (received_us);

-- Seals: `record` is what the gateway sent, `state` what the hub found of it, `anchor` the number of the
-- tenant's anchor that it is in, at place `leaf`.
CREATE TABLE seals (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway     TEXT   NOT NULL,
    epoch       BLOB   NOT NULL,
    number      BIGINT NOT NULL,
    hash        BLOB   NOT NULL,
    record      BLOB   NOT NULL,
    state       TEXT   NOT NULL,
    why         TEXT,
    received_us BIGINT NOT NULL,
    changed_us  BIGINT NOT NULL,
    anchor      BIGINT,
    leaf        BIGINT,
    PRIMARY KEY (tenant, gateway, epoch, number)
);
CREATE INDEX seals_pending ON seals (received_us) WHERE state = 'pending';
CREATE INDEX seals_unanchored ON seals (tenant, received_us) WHERE state = 'verified' AND anchor IS NULL;
CREATE INDEX seals_by_anchor ON seals (tenant, anchor, leaf) WHERE anchor IS NOT NULL;
CREATE INDEX seals_by_time ON seals (tenant, received_us);

-- Which readings are in which chunk of which seal.
CREATE TABLE sealed_runs (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    device  TEXT   NOT NULL,
    boot    BIGINT NOT NULL,
    first   BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    gateway TEXT   NOT NULL,
    epoch   BLOB   NOT NULL,
    number  BIGINT NOT NULL,
    chunk   BIGINT NOT NULL,
    PRIMARY KEY (tenant, device, boot, first, last, gateway, epoch, number, chunk)
) WITHOUT ROWID;
CREATE INDEX sealed_runs_by_seal ON sealed_runs (tenant, gateway, epoch, number);

-- Where and how often a tenant's seals are anchored.
CREATE TABLE anchoring (
    tenant     TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    chain      TEXT   NOT NULL,
    interval_s BIGINT NOT NULL,
    changed_us BIGINT NOT NULL
);

-- Anchors: `body` is what was sent and what shows that it is there (JSON), `open` that it is not final.
CREATE TABLE anchors (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    anchor     BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    open       BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, anchor)
);
CREATE INDEX anchors_open ON anchors (tenant) WHERE open = 1;
