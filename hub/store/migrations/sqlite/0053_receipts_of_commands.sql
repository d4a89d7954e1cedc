-- What a device says of a command that no hub gave is looked for among the receipts of admissions. Ids of commands are
-- drawn at random; the tenant is in the table's key, and so in this, too.
CREATE INDEX access_receipts_by_command
    ON access_receipts (json_extract(body, '$.command'));
