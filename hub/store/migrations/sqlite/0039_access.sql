-- Rights to command devices, each with a credential (whose standing is the right's). `run` and `step` are
-- the caused run's by which it was given; NULL: nothing on a chain can take it back. `taken`: it is
-- suspended because its cause is gone. `source` is what
-- it comes from, and `body` what it says (JSON).
CREATE TABLE access_rights (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    right_id TEXT   NOT NULL,
    holder   BLOB   NOT NULL,
    device   TEXT   NOT NULL,
    source   TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    run      BLOB,
    step     BIGINT,
    taken    BIGINT NOT NULL,
    until_us BIGINT,
    made_us  BIGINT NOT NULL,
    PRIMARY KEY (tenant, right_id)
) WITHOUT ROWID;
CREATE INDEX access_rights_by_holder ON access_rights (holder, made_us, right_id);
CREATE INDEX access_rights_by_time ON access_rights (tenant, made_us, right_id);
CREATE INDEX access_rights_by_run ON access_rights (tenant, run) WHERE run IS NOT NULL;

-- What a tenant lets its gateways admit (JSON).
CREATE TABLE access_policies (
    tenant     TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    body       TEXT   NOT NULL,
    changed_us BIGINT NOT NULL
) WITHOUT ROWID;

-- Receipts of admissions at gateways. `body` is the receipt as it was signed, `hash` its SHA-256;
-- `follows`: the one before it was known. `conflict`: why its holder should not have been admitted.
CREATE TABLE access_receipts (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway     TEXT   NOT NULL,
    chain       TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    hash        BLOB   NOT NULL,
    body        TEXT   NOT NULL,
    outcome     TEXT   NOT NULL,
    follows     BIGINT NOT NULL,
    conflict    TEXT,
    at_us       BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, gateway, chain, number)
) WITHOUT ROWID;
CREATE INDEX access_receipts_by_time ON access_receipts (tenant, received_us, gateway, chain, number);
