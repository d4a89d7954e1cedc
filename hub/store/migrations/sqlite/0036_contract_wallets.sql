-- The chain on which a wallet's contract is asked whether it has signed (EIP-155 chain id); NULL: the role is
-- for who holds the account's own key, and no contract has a say.
ALTER TABLE wallets ADD COLUMN chain BIGINT;
-- The chain whose contract has said that a session is the account's; NULL: its own key has.
ALTER TABLE wallet_sessions ADD COLUMN chain BIGINT;
-- Of those that are open nobody knows: wallets sign in again.
DELETE FROM wallet_sessions;
DELETE FROM sessions WHERE wallet IS NOT NULL;

-- How many credentials a tenant has, so that nobody counts them.
ALTER TABLE tenants ADD COLUMN credential_count BIGINT NOT NULL DEFAULT 0;
UPDATE tenants SET credential_count =
    (SELECT COUNT(*) FROM credentials WHERE credentials.tenant = tenants.tenant);
CREATE TRIGGER credential_is_counted AFTER INSERT ON credentials BEGIN
    UPDATE tenants SET credential_count = credential_count + 1 WHERE tenant = NEW.tenant;
END;
CREATE TRIGGER credential_is_gone AFTER DELETE ON credentials BEGIN
    UPDATE tenants SET credential_count = credential_count - 1 WHERE tenant = OLD.tenant;
END;
CREATE INDEX credentials_by_end ON credentials (valid_until_us) WHERE valid_until_us IS NOT NULL;

-- Names of tenants that have ever issued credentials: what was said in them is not another's to say.
CREATE TABLE issued_names (
    name TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;
INSERT INTO issued_names (name) SELECT tenant FROM issuers;
