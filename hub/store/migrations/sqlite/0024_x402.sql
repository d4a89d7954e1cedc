-- What tenants sell by x402: `body` (JSON) says what and for how much.
CREATE TABLE offers (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    offer      TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, offer)
) WITHOUT ROWID;

-- Payments for offers, each by the id of the invoice that it is. `body` (JSON) says what was bought
-- and where it stands, `version` counts its changes, and a change names the one that it follows.
-- `wakes_us` is when it is to be looked at without being asked for, NULL: never; `command` is the
-- device command that it waits for.
CREATE TABLE purchases (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    purchase   BLOB   NOT NULL,
    version    BIGINT NOT NULL,
    offer      TEXT   NOT NULL,
    payer      BLOB   NOT NULL,
    body       TEXT   NOT NULL,
    wakes_us   BIGINT,
    command    BLOB,
    created_us BIGINT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, purchase)
) WITHOUT ROWID;
CREATE INDEX purchases_by_time ON purchases (tenant, created_us, purchase);
CREATE INDEX purchases_waking ON purchases (wakes_us) WHERE wakes_us IS NOT NULL;
CREATE UNIQUE INDEX purchases_by_command ON purchases (tenant, command) WHERE command IS NOT NULL;

-- What a payer has under way on bare authorisations, and what was lost to them (`body`, JSON).
CREATE TABLE exposures (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    asset   TEXT   NOT NULL,
    payer   BLOB   NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (tenant, asset, payer)
) WITHOUT ROWID;
