-- When the hub last received something of the device through `gateway`.
ALTER TABLE devices ADD COLUMN heard_us BIGINT;
