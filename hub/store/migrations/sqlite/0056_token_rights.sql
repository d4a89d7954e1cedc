-- Rights that tokens stand for are counted by device and account, so that no holder uses up its tenant's.
CREATE INDEX access_rights_of_tokens ON access_rights (tenant, device, holder) WHERE source = 'token';

-- A credential of a right without the right: kept before its right was refused, or before a kill. Nobody was
-- given it, and nothing would ever have forgotten it.
DELETE FROM credentials WHERE kind = 'DeviceAccessCredential' AND NOT EXISTS (
    SELECT 1 FROM access_rights r
    WHERE r.tenant = credentials.tenant AND r.right_id = credentials.credential);
