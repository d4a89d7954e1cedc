-- How a tenant lets what a chain says of tokens control its devices: `body` is the policy (JSON), `chain`
-- and the addresses say which tokens.
CREATE TABLE ownership (
    tenant     TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    chain      TEXT   NOT NULL REFERENCES chains (chain),
    body       TEXT   NOT NULL,
    changed_us BIGINT NOT NULL
);

-- Which device has which passport: `token` is its id (32 bytes), `did` what that is the hash of.
CREATE TABLE device_passports (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    device     TEXT   NOT NULL,
    token      BLOB   NOT NULL,
    did        TEXT,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, device),
    UNIQUE (tenant, token)
) WITHOUT ROWID;

-- Passports and rights as a tenant knows them: `body` (JSON) is what the chain's stream has said, `version`
-- counts its changes. `holder` is who owns or uses it by the newest of that, `passport` for which
-- device a right is, `looked` the block as of which the contract was asked (NULL: that is done with).
CREATE TABLE held_tokens (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    chain      TEXT   NOT NULL,
    collection BLOB   NOT NULL,
    token      BLOB   NOT NULL,
    version    BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    holder     BLOB,
    passport   BLOB,
    looked     BIGINT,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, chain, collection, token)
) WITHOUT ROWID;
CREATE INDEX held_tokens_by_holder ON held_tokens (holder, tenant, chain, collection, token)
    WHERE holder IS NOT NULL;
CREATE INDEX held_tokens_by_passport ON held_tokens (tenant, chain, collection, passport, holder)
    WHERE passport IS NOT NULL;
CREATE INDEX held_tokens_looked ON held_tokens (chain, looked) WHERE looked IS NOT NULL;

-- Documents by the SHA-256 of what they say, which tokens name.
CREATE TABLE documents (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    sha256     BLOB   NOT NULL,
    media_type TEXT   NOT NULL,
    body       BLOB   NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, sha256)
) WITHOUT ROWID;
CREATE INDEX documents_by_hash ON documents (sha256, tenant);
