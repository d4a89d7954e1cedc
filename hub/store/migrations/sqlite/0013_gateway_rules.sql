-- What gateways said last of the rules that are placed at them: whether each judges the version that
-- it was told, or why not.
CREATE TABLE gateway_rules (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway  TEXT   NOT NULL,
    workflow TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    refused  TEXT,
    at_us    BIGINT NOT NULL,
    PRIMARY KEY (tenant, gateway, workflow)
) WITHOUT ROWID;
CREATE INDEX gateway_rules_by_workflow ON gateway_rules (tenant, workflow, gateway);
