-- People of a tenant. `password` is a PHC string (argon2id); NULL until a link was used.
CREATE TABLE users (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    name        TEXT   NOT NULL,
    role        TEXT   NOT NULL,
    password    TEXT,
    disabled_us BIGINT,
    created_us  BIGINT NOT NULL,
    signed_in_us BIGINT,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- One-time links, at most one a user; gone when used.
CREATE TABLE login_links (
    tenant        TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    secret_sha256 BLOB   NOT NULL UNIQUE,
    expires_us    BIGINT NOT NULL,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, name) REFERENCES users (tenant, name) ON DELETE CASCADE
);

-- Browsers that are signed in: by a user's password, or by a token (then `name` is NULL).
CREATE TABLE sessions (
    tenant        TEXT   NOT NULL REFERENCES tenants (tenant),
    session       TEXT   NOT NULL,
    secret_sha256 BLOB   NOT NULL UNIQUE,
    name          TEXT,
    token         TEXT,
    address       TEXT,
    created_us    BIGINT NOT NULL,
    seen_us       BIGINT NOT NULL,
    expires_us    BIGINT NOT NULL,
    PRIMARY KEY (tenant, session),
    FOREIGN KEY (tenant, name) REFERENCES users (tenant, name) ON DELETE CASCADE,
    FOREIGN KEY (tenant, token) REFERENCES tokens (tenant, token) ON DELETE CASCADE
);
CREATE INDEX sessions_by_user ON sessions (tenant, name, seen_us);
CREATE INDEX sessions_by_token ON sessions (tenant, token, seen_us);

-- Those who run the hub: they manage tenants and see nothing of theirs.
CREATE TABLE operators (
    token         TEXT   NOT NULL PRIMARY KEY,
    secret_sha256 BLOB   NOT NULL UNIQUE,
    name          TEXT   NOT NULL,
    created_us    BIGINT NOT NULL,
    revoked_us    BIGINT
);

-- Who changed what. `entry` counts up within the tenant.
CREATE TABLE audit (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    entry   BIGINT NOT NULL,
    at_us   BIGINT NOT NULL,
    who     TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    target  TEXT,
    outcome TEXT   NOT NULL,
    detail  TEXT,
    address TEXT,
    PRIMARY KEY (tenant, entry)
) WITHOUT ROWID;
CREATE INDEX audit_by_who ON audit (tenant, who, entry);
CREATE INDEX audit_by_action ON audit (tenant, action, entry);

-- Answers to requests with an `Idempotency-Key`, sealed by who asked; NULL until there is one. The
-- empty tenant is that of operators.
CREATE TABLE answers (
    tenant         TEXT   NOT NULL,
    caller         TEXT   NOT NULL,
    key_sha256     BLOB   NOT NULL,
    request_sha256 BLOB   NOT NULL,
    answer         BLOB,
    begun_us       BIGINT NOT NULL,
    PRIMARY KEY (tenant, caller, key_sha256)
);
CREATE INDEX answers_by_age ON answers (tenant, begun_us);
