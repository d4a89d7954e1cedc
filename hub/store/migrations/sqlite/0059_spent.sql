-- What the final sends of a tenant have come to, by asset (an empty one: the native coin, fees included), summed up
-- over each hour and each day in which their nonces were taken. `span_us` is how long it is, and `begins_us` its
-- first instant. `used` is all, and `sales` what of it was for sales; 32 bytes, big-endian. `first_us` is when the
-- first of it was reserved. What is summed up is `summed` among the sends; all else is looked at one by one.
CREATE TABLE chain_spent (
    tenant    TEXT   NOT NULL,
    chain     TEXT   NOT NULL REFERENCES chains (chain),
    asset     BLOB   NOT NULL,
    span_us   BIGINT NOT NULL,
    begins_us BIGINT NOT NULL,
    used      BLOB   NOT NULL,
    sales     BLOB   NOT NULL,
    first_us  BIGINT NOT NULL,
    PRIMARY KEY (tenant, chain, asset, span_us, begins_us)
) WITHOUT ROWID;
ALTER TABLE chain_sends ADD COLUMN summed BIGINT;
CREATE INDEX chain_sends_unsummed ON chain_sends (tenant, chain, reserved_us)
    WHERE summed IS NULL AND state <> 'lost';
