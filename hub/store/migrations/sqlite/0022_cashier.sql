-- The timestamp of the newest block that was ever looked at: up to then what is on the chain is known.
ALTER TABLE chains ADD COLUMN read_s BIGINT;

-- Who pays knows an invoice's id and no tenant.
CREATE UNIQUE INDEX invoices_by_id ON invoices (invoice);

-- How a tenant takes payments (`body`: JSON).
CREATE TABLE payment_settings (
    tenant     TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    body       TEXT   NOT NULL,
    changed_us BIGINT NOT NULL
) WITHOUT ROWID;

-- Whose each address is that takes payments: one tenant's. `chain` is an EIP-155 chain id.
CREATE TABLE payment_payees (
    chain   BIGINT NOT NULL,
    address BLOB   NOT NULL,
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    PRIMARY KEY (chain, address)
) WITHOUT ROWID;
CREATE INDEX payment_payees_of_tenant ON payment_payees (tenant);
