-- Since when a gateway is one of the tenant's: it was added (`hub add-gateway`), or it has connected.
-- NULL: it was only ever named, perhaps by a slip; it is shown nowhere, and gets no further devices.
ALTER TABLE gateway_keys ADD COLUMN added_us BIGINT;
UPDATE gateway_keys SET added_us = COALESCE(registered_us, 0) WHERE public_key IS NOT NULL;

-- Those that were added before this was kept stand in the audit log.
INSERT INTO gateway_keys (tenant, gateway, epoch, revision, held, added_us)
    SELECT tenant, target, (random() & 9223372036854775807) | 1, 0, 0, MAX(at_us) FROM audit
    WHERE action = 'gateways.create' AND outcome = 'done' AND target IS NOT NULL
    GROUP BY tenant, target
    ON CONFLICT (tenant, gateway) DO UPDATE SET
        added_us = MAX(COALESCE(gateway_keys.added_us, 0), excluded.added_us);

-- When a gateway last came with another key than before, and when one last spoke by its name while it
-- was connected. NULL: never.
ALTER TABLE gateway_keys ADD COLUMN rekeyed_us BIGINT;
ALTER TABLE gateway_keys ADD COLUMN contested_us BIGINT;

-- The tag of the claim code by which a key came.
ALTER TABLE device_keys ADD COLUMN code_tag BLOB;
CREATE INDEX device_keys_by_code ON device_keys (tenant, code_tag) WHERE code_tag IS NOT NULL;
