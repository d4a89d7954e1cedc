-- Accounts of chains that may do something in a tenant. `address` is 20 bytes.
CREATE TABLE wallets (
    tenant       TEXT   NOT NULL REFERENCES tenants (tenant),
    address      BLOB   NOT NULL,
    role         TEXT   NOT NULL,
    name         TEXT,
    created_us   BIGINT NOT NULL,
    signed_in_us BIGINT,
    PRIMARY KEY (tenant, address)
) WITHOUT ROWID;
CREATE INDEX wallets_by_address ON wallets (address, tenant);

-- Sessions that a wallet has opened in a tenant: `name` and `token` are NULL then.
ALTER TABLE sessions ADD COLUMN wallet BLOB;
CREATE INDEX sessions_by_wallet ON sessions (tenant, wallet, seen_us);

-- Sessions of wallets that are in no tenant: they see what they have paid. `network` is from where they
-- were opened.
CREATE TABLE wallet_sessions (
    session       TEXT   NOT NULL PRIMARY KEY,
    secret_sha256 BLOB   NOT NULL UNIQUE,
    address       BLOB   NOT NULL,
    network       TEXT,
    created_us    BIGINT NOT NULL,
    seen_us       BIGINT NOT NULL,
    expires_us    BIGINT NOT NULL
);
CREATE INDEX wallet_sessions_by_address ON wallet_sessions (address, seen_us);
CREATE INDEX wallet_sessions_by_use ON wallet_sessions (seen_us);

-- Nonces that were given and not used: `body` is what the message has to say (JSON).
CREATE TABLE wallet_nonces (
    nonce_sha256 BLOB   NOT NULL PRIMARY KEY,
    network      TEXT   NOT NULL,
    body         TEXT   NOT NULL,
    given_us     BIGINT NOT NULL,
    expires_us   BIGINT NOT NULL
);
CREATE INDEX wallet_nonces_by_network ON wallet_nonces (network, given_us);
CREATE INDEX wallet_nonces_by_time ON wallet_nonces (given_us);

-- Who has paid, or has signed a payment, of which invoice: an account sees its own.
CREATE TABLE payers (
    payer      BLOB   NOT NULL,
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant),
    invoice    BLOB   NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (payer, tenant, invoice)
) WITHOUT ROWID;
CREATE INDEX payers_by_time ON payers (payer, created_us, invoice);
CREATE INDEX payers_of_tenant ON payers (tenant);

INSERT INTO payers (payer, tenant, invoice, created_us)
SELECT payer, tenant, purchase, created_us FROM purchases WHERE true
ON CONFLICT DO NOTHING;
