-- What a device says of a command that no hub gave is looked for among the receipts of admissions.
CREATE INDEX access_receipts_by_command
    ON access_receipts (tenant, json_extract(body, '$.command'));
