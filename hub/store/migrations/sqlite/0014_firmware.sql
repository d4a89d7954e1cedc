-- What devices did not take, or went back from: of each the last, and why.
CREATE TABLE device_verdicts (
    tenant      TEXT   NOT NULL,
    device      TEXT   NOT NULL,
    digest      BLOB   NOT NULL,
    reason      TEXT   NOT NULL,
    reported_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, device)
) WITHOUT ROWID;

-- Who signs a tenant's updates after whom: the keys before, by the SHA-256 of their text, have signed
-- `body`, which names their successors.
CREATE TABLE update_successions (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    before  BLOB   NOT NULL,
    body    TEXT   NOT NULL,
    made_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, before)
) WITHOUT ROWID;
