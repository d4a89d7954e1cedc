-- Devices that were born at a factory. `code_tag` and `psk` (sealed by the hub) go when a tenant
-- has claimed the device, so that a code works once; the row stays, so that the same birth is
-- never taken twice.
CREATE TABLE births (
    identity   TEXT   NOT NULL PRIMARY KEY,
    code_tag   BLOB   UNIQUE,
    psk        BLOB,
    born_us    BIGINT NOT NULL,
    claimed_us BIGINT
) WITHOUT ROWID;

-- Devices that a tenant has claimed, enrolled or revoked. `refused` is what the pipeline does,
-- by the log; it follows `revoked`.
CREATE TABLE registrations (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant),
    device      TEXT   NOT NULL,
    gateway     TEXT,
    revoked     BIGINT NOT NULL,
    refused     BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    enrolled_us BIGINT NOT NULL,
    changed_us  BIGINT NOT NULL,
    revoked_us  BIGINT,
    PRIMARY KEY (tenant, device)
);
CREATE INDEX registrations_unsettled ON registrations (tenant, device) WHERE revoked <> refused;
CREATE INDEX registrations_refused ON registrations (tenant, device) WHERE refused <> 0;

-- The keys that a device has had, by generation. `identity` is the name by which the hardware
-- speaks, `psk` the key, sealed by the hub: NULL when it opens nothing any more.
CREATE TABLE device_keys (
    tenant     TEXT   NOT NULL,
    device     TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    identity   TEXT   NOT NULL,
    psk        BLOB,
    psk_tag    BLOB   NOT NULL,
    made_us    BIGINT NOT NULL,
    used_us    BIGINT,
    ended_us   BIGINT,
    ended_why  TEXT,
    PRIMARY KEY (tenant, device, generation),
    FOREIGN KEY (tenant, device) REFERENCES registrations (tenant, device) ON DELETE CASCADE
);
CREATE UNIQUE INDEX device_keys_by_tag ON device_keys (tenant, psk_tag);
CREATE INDEX device_keys_by_identity ON device_keys (tenant, identity) WHERE psk IS NOT NULL;

-- What each gateway shall hold: a list that is numbered (`revision`), and how far the gateway has
-- it (`held`). Another `epoch` is another list.
CREATE TABLE gateway_keys (
    tenant        TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway       TEXT   NOT NULL,
    epoch         BIGINT NOT NULL,
    revision      BIGINT NOT NULL,
    held          BIGINT NOT NULL,
    public_key    BLOB,
    registered_us BIGINT,
    PRIMARY KEY (tenant, gateway)
);
CREATE INDEX gateway_keys_behind ON gateway_keys (tenant, gateway) WHERE held < revision;

-- The entries of those lists. One that is not `present` is a device that is let in no more.
CREATE TABLE placements (
    tenant   TEXT   NOT NULL,
    gateway  TEXT   NOT NULL,
    device   TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    present  BIGINT NOT NULL,
    PRIMARY KEY (tenant, gateway, device),
    FOREIGN KEY (tenant, gateway) REFERENCES gateway_keys (tenant, gateway) ON DELETE CASCADE
);
CREATE INDEX placements_by_revision ON placements (tenant, gateway, revision);
