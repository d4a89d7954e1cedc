-- By which movement of money a refund was sent that the tenant has told of: one movement serves one refund, of
-- all invoices of all tenants.
CREATE TABLE refund_movements (
    movement TEXT NOT NULL PRIMARY KEY,
    tenant   TEXT NOT NULL REFERENCES tenants (tenant),
    invoice  BLOB NOT NULL,
    refund   BLOB NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX refund_movements_by_refund ON refund_movements (tenant, invoice, refund);
