-- Who has signed what a send brings to the chain (EIP-3009), and for which invoice; `sale` is 1 where a stranger
-- buys something by it (x402), and 0 where it is for an invoice that the tenant has made. What came to nothing
-- is counted by payer, and sales have a part of what the tenant may spend. Sends of before have none of it.
ALTER TABLE chain_sends ADD COLUMN payer BLOB;
ALTER TABLE chain_sends ADD COLUMN invoice BLOB;
ALTER TABLE chain_sends ADD COLUMN sale BIGINT;
CREATE INDEX chain_sends_by_payer ON chain_sends (tenant, chain, payer, reserved_us)
    WHERE payer IS NOT NULL;
