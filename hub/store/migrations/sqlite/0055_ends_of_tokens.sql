-- When a token opens nothing any more, by itself; NULL: it has no end.
ALTER TABLE tokens ADD COLUMN expires_us BIGINT;
ALTER TABLE operators ADD COLUMN expires_us BIGINT;

-- Those that come to their end, in their order.
CREATE INDEX tokens_by_end ON tokens (expires_us, tenant, token) WHERE expires_us IS NOT NULL;
