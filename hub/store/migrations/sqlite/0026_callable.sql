-- Contracts of which a tenant's workflows may call any function from the hub's account.
CREATE TABLE chain_callable (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    chain    TEXT   NOT NULL REFERENCES chains (chain),
    address  BLOB   NOT NULL,
    PRIMARY KEY (tenant, chain, address)
) WITHOUT ROWID;
