-- The next nonce of each account that sends. A nonce is taken once and never given back.
CREATE TABLE chain_nonces (
    chain  TEXT   NOT NULL REFERENCES chains (chain),
    sender BLOB   NOT NULL,
    next   BIGINT NOT NULL,
    PRIMARY KEY (chain, sender)
) WITHOUT ROWID;

-- What is sent, each with its nonce from the beginning. `state` is 'pending' (not known to be in a
-- block), 'included', 'final' or 'lost' (the nonce is used by a transaction that is none of ours).
-- Amounts are 32 bytes, big-endian. `most_fee` is the most that gas may cost, in wei.
CREATE TABLE chain_sends (
    chain        TEXT   NOT NULL REFERENCES chains (chain),
    sender       BLOB   NOT NULL,
    nonce        BIGINT NOT NULL,
    tenant       TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    receiver     BLOB   NOT NULL,
    value        BLOB   NOT NULL,
    data         BLOB   NOT NULL,
    gas          BIGINT NOT NULL,
    most_fee     BLOB   NOT NULL,
    token        BLOB,
    token_amount BLOB,
    state        TEXT   NOT NULL,
    tx           BLOB,
    block_number BIGINT,
    block_hash   BLOB,
    succeeded    BIGINT,
    reserved_us  BIGINT NOT NULL,
    PRIMARY KEY (chain, sender, nonce)
) WITHOUT ROWID;
CREATE UNIQUE INDEX chain_sends_by_key ON chain_sends (tenant, key);
CREATE INDEX chain_sends_open ON chain_sends (chain, sender, nonce)
    WHERE state IN ('pending', 'included');
CREATE INDEX chain_sends_spent ON chain_sends (tenant, chain, reserved_us);

-- Each signature that was made for a send, stored before anybody else saw it.
CREATE TABLE chain_attempts (
    chain          TEXT   NOT NULL,
    sender         BLOB   NOT NULL,
    nonce          BIGINT NOT NULL,
    attempt        BIGINT NOT NULL,
    tx             BLOB   NOT NULL,
    raw            BLOB   NOT NULL,
    max_fee        BLOB   NOT NULL,
    max_priority   BLOB   NOT NULL,
    signed_us      BIGINT NOT NULL,
    PRIMARY KEY (chain, sender, nonce, attempt),
    FOREIGN KEY (chain, sender, nonce) REFERENCES chain_sends (chain, sender, nonce)
) WITHOUT ROWID;

-- What a tenant may spend of an asset (an empty one: the native coin, fees included) in any span of
-- so many seconds.
CREATE TABLE chain_limits (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    chain    TEXT   NOT NULL REFERENCES chains (chain),
    asset    BLOB   NOT NULL,
    window_s BIGINT NOT NULL,
    most     BLOB   NOT NULL,
    PRIMARY KEY (tenant, chain, asset)
) WITHOUT ROWID;
