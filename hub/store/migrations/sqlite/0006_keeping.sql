-- How long a tenant keeps its history where that is not the hub's default: NULL is the default, 0
-- for good, else days.
CREATE TABLE retention (
    tenant          TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant),
    series_days     BIGINT,
    runs_days       BIGINT,
    alarms_days     BIGINT,
    quarantine_days BIGINT,
    audit_days      BIGINT,
    changed_us      BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX quarantine_by_age ON quarantine (tenant, at_us);
CREATE INDEX quarantine_by_device ON quarantine (tenant, device) WHERE device IS NOT NULL;
CREATE INDEX series_chunks_by_age ON series_chunks (series, to_us);
