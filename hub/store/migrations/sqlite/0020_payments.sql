-- Invoices. `body` is their state as the rules of payments keep it (JSON), `version` counts its
-- changes, and a change names the one that it follows. `wakes_us` is when time alone may change it,
-- NULL: never; until `watched_until_us` payments of it are looked for.
CREATE TABLE invoices (
    tenant           TEXT   NOT NULL REFERENCES tenants (tenant),
    invoice          BLOB   NOT NULL,
    version          BIGINT NOT NULL,
    state            TEXT   NOT NULL,
    body             TEXT   NOT NULL,
    wakes_us         BIGINT,
    watched_until_us BIGINT NOT NULL,
    created_us       BIGINT NOT NULL,
    changed_us       BIGINT NOT NULL,
    PRIMARY KEY (tenant, invoice)
) WITHOUT ROWID;
CREATE INDEX invoices_by_time ON invoices (tenant, created_us, invoice);
CREATE INDEX invoices_waking ON invoices (wakes_us) WHERE wakes_us IS NOT NULL;
CREATE INDEX invoices_watched ON invoices (watched_until_us);

-- Whose each movement of money is (`credit` is its key as text); `invoice` is NULL where it is of
-- none, and `body` (JSON) then says what it is.
CREATE TABLE invoice_credits (
    credit  TEXT   NOT NULL PRIMARY KEY,
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    invoice BLOB,
    body    TEXT,
    at_us   BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX invoice_credits_unmatched ON invoice_credits (tenant, at_us, credit) WHERE invoice IS NULL;

-- What is to be done because of invoices: done once a key, tried again at `due_us` until `done_us`.
CREATE TABLE invoice_effects (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    key      BLOB   NOT NULL,
    invoice  BLOB   NOT NULL,
    number   BIGINT NOT NULL,
    body     TEXT   NOT NULL,
    attempts BIGINT NOT NULL,
    due_us   BIGINT NOT NULL,
    done_us  BIGINT,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX invoice_effects_due ON invoice_effects (due_us, number) WHERE done_us IS NULL;
CREATE UNIQUE INDEX invoice_effects_in_order ON invoice_effects (tenant, number);

-- The journal in order, and what its entries come to. Sums are decimal digits: they have up to 256
-- bits.
CREATE TABLE journal_entries (
    tenant TEXT   NOT NULL REFERENCES tenants (tenant),
    key    BLOB   NOT NULL,
    number BIGINT NOT NULL,
    asset  TEXT   NOT NULL,
    at_us  BIGINT NOT NULL,
    memo   TEXT   NOT NULL,
    lines  TEXT   NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX journal_entries_in_order ON journal_entries (tenant, number);

CREATE TABLE journal_balances (
    tenant  TEXT NOT NULL REFERENCES tenants (tenant),
    asset   TEXT NOT NULL,
    account TEXT NOT NULL,
    debits  TEXT NOT NULL,
    credits TEXT NOT NULL,
    PRIMARY KEY (tenant, asset, account)
) WITHOUT ROWID;
