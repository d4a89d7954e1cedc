-- The seed of a tenant's keys as an issuer of credentials, sealed by the hub's own key.
CREATE TABLE issuers (
    tenant  TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    sealed  BLOB   NOT NULL,
    made_us BIGINT NOT NULL
) WITHOUT ROWID;

-- Credentials that tenants have issued: `body` is what was given out. `list` and `bit` are its place
-- in the tenant's status lists; `standing` is good, suspended or revoked. `cause` is the effect key
-- of the step that has issued it, NULL: somebody has by the API.
CREATE TABLE credentials (
    tenant         TEXT   NOT NULL REFERENCES tenants (tenant),
    credential     TEXT   NOT NULL,
    kind           TEXT   NOT NULL,
    subject        TEXT   NOT NULL,
    list           BIGINT NOT NULL,
    bit            BIGINT NOT NULL,
    standing       TEXT   NOT NULL,
    cause          TEXT,
    body           TEXT   NOT NULL,
    issued_us      BIGINT NOT NULL,
    valid_until_us BIGINT,
    changed_us     BIGINT NOT NULL,
    PRIMARY KEY (tenant, credential)
) WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_by_bit ON credentials (tenant, list, bit);
CREATE UNIQUE INDEX credentials_by_cause ON credentials (tenant, cause) WHERE cause IS NOT NULL;
CREATE INDEX credentials_by_time ON credentials (tenant, issued_us, credential);
CREATE INDEX credentials_by_standing ON credentials (tenant, list, standing, bit);
