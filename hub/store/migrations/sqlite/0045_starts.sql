-- What a payment starts is decided once, for the workflows that are in force then: what is put in force
-- later starts nothing by itself. `paid_us` is since when the hub knew the invoice as paid; `missed` 1: no
-- workflow took it, though there had been one for it.
CREATE TABLE invoice_starts (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    invoice BLOB   NOT NULL,
    paid_us BIGINT,
    at_us   BIGINT NOT NULL,
    missed  BIGINT NOT NULL,
    PRIMARY KEY (tenant, invoice)
) WITHOUT ROWID;
-- Of invoices that are paid already it is decided, but where nobody was told as yet.
INSERT INTO invoice_starts (tenant, invoice, paid_us, at_us, missed)
SELECT tenant, invoice,
    CASE WHEN json_valid(body) THEN json_extract(body, '$.about.paid_us') END, changed_us, 0
FROM invoices WHERE state IN ('confirming', 'settled') AND NOT EXISTS (
    SELECT 1 FROM invoice_effects e WHERE e.tenant = invoices.tenant AND e.invoice = invoices.invoice
    AND e.done_us IS NULL AND e.attempts = 0 AND e.again = 0);

-- The runs that led to what is sent by a key, the one that sends it last (JSON): noted before it is ordered.
CREATE TABLE chain_send_causes (
    tenant TEXT NOT NULL REFERENCES tenants (tenant),
    key    TEXT NOT NULL,
    causes TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX chain_attempts_by_tx ON chain_attempts (tx);

-- The runs that led to a run by transactions that the hub sent, the first one first (JSON); NULL: none.
ALTER TABLE runs ADD COLUMN causes TEXT;
