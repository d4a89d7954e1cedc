-- Each answer of a wallet stands for one admission: whether a gateway has noted it before is looked for by its nonce,
-- which a gateway draws at random; tenant and gateway are in the table's key, and so in this, too.
CREATE INDEX access_receipts_by_nonce
    ON access_receipts (json_extract(body, '$.challenge.nonce'));
