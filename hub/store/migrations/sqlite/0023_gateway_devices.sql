-- What gateways say of their devices: how many field devices they read, which of them are silent, and
-- whose keys they do not use (JSON: how many, and the first of them). NULL: not said.
ALTER TABLE gateways ADD COLUMN field_devices BIGINT;
ALTER TABLE gateways ADD COLUMN silent TEXT;
ALTER TABLE gateways ADD COLUMN unused_keys TEXT;
