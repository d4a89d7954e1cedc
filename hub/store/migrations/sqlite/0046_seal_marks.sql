-- Seals of gateways that are not what the hub has, until somebody has looked at each. `device` is empty where
-- the seal as a whole is wrong, else its readings are; `flaw` names what it is, `differs` says it (JSON).
CREATE TABLE seal_marks (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway TEXT   NOT NULL,
    epoch   BLOB   NOT NULL,
    number  BIGINT NOT NULL,
    device  TEXT   NOT NULL,
    flaw    TEXT   NOT NULL,
    why     TEXT   NOT NULL,
    differs TEXT   NOT NULL,
    at_us   BIGINT NOT NULL,
    PRIMARY KEY (tenant, gateway, epoch, number, device)
);
CREATE INDEX seal_marks_by_device ON seal_marks (tenant, device);
CREATE INDEX seal_marks_by_time ON seal_marks (tenant, at_us);
