-- Who has queued a command by which token, where it was no person or program of the tenant's: the account (20
-- bytes), and collection and token (20 and 32 bytes). With the token goes what no gateway has got yet.
ALTER TABLE commands ADD COLUMN account BLOB;
ALTER TABLE commands ADD COLUMN held BLOB;
CREATE INDEX commands_of_holders ON commands (tenant, held, account)
    WHERE account IS NOT NULL AND state IN ('queued', 'sent', 'acknowledged');

-- The last second of a right, since 1970, so that those that run come before those that are over. What was kept
-- before has none until it changes, and counts as running.
ALTER TABLE held_tokens ADD COLUMN ends_s BIGINT;

-- Each tenant's tokens of which a contract has to be asked.
DROP INDEX held_tokens_looked;
CREATE INDEX held_tokens_looked ON held_tokens (tenant, chain, looked) WHERE looked IS NOT NULL;
