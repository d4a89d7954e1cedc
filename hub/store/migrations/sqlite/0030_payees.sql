-- Where offers are paid, so that no two tenants are at one address. `chain` is an EIP-155 chain id.
CREATE TABLE offer_payees (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    offer   TEXT   NOT NULL,
    chain   BIGINT NOT NULL,
    address BLOB   NOT NULL,
    PRIMARY KEY (tenant, offer, chain, address)
) WITHOUT ROWID;
CREATE INDEX offer_payees_by_address ON offer_payees (chain, address);

-- What was done because of invoices and is to be forgotten.
CREATE INDEX invoice_effects_done ON invoice_effects (tenant, done_us) WHERE done_us IS NOT NULL;
