-- How many passports and rights are kept of a tenant, so that nobody counts them.
ALTER TABLE tenants ADD COLUMN held_count BIGINT NOT NULL DEFAULT 0;
UPDATE tenants SET held_count =
    (SELECT COUNT(*) FROM held_tokens WHERE held_tokens.tenant = tenants.tenant);
CREATE TRIGGER held_token_is_counted AFTER INSERT ON held_tokens BEGIN
    UPDATE tenants SET held_count = held_count + 1 WHERE tenant = NEW.tenant;
END;
CREATE TRIGGER held_token_is_gone AFTER DELETE ON held_tokens BEGIN
    UPDATE tenants SET held_count = held_count - 1 WHERE tenant = OLD.tenant;
END;
-- What goes when it is good for nothing any more: rights that are over, tokens of nobody.
CREATE INDEX held_tokens_by_end ON held_tokens (tenant, ends_s) WHERE ends_s IS NOT NULL;
CREATE INDEX held_tokens_of_nobody ON held_tokens (tenant, changed_us)
    WHERE holder IS NULL AND looked IS NULL;

-- Rights that gateways check: those that hold are counted, and those that are over go.
CREATE INDEX access_rights_by_end ON access_rights (tenant, until_us);
CREATE INDEX credentials_revoked ON credentials (tenant, changed_us) WHERE standing = 'revoked';

-- Who has had a credential issued: a person or a token of the tenant's by name, or `workflow`. NULL: that was not
-- noted, or it is of a right to command a device.
ALTER TABLE credentials ADD COLUMN issued_by TEXT;
