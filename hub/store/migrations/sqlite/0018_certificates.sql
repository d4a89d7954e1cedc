-- The certificates of gateways, known by the SHA-256 of their DER. `state` is `issued` (not used yet),
-- `current`, `superseded` or `revoked`; the last two never let anybody in again. `renews`: of which
-- other one it is the successor; NULL: it was given out by `hub add-gateway`, or was met. `key` is the
-- SHA-256 of the public key. `chain` is kept while a successor was not used, to be sent again.
CREATE TABLE gateway_certificates (
    tenant        TEXT   NOT NULL REFERENCES tenants (tenant),
    gateway       TEXT   NOT NULL,
    fingerprint   BLOB   NOT NULL,
    serial        TEXT   NOT NULL,
    key           BLOB   NOT NULL,
    renews        BLOB,
    chain         TEXT,
    state         TEXT   NOT NULL,
    not_before_us BIGINT NOT NULL,
    not_after_us  BIGINT NOT NULL,
    made_us       BIGINT NOT NULL,
    used_us       BIGINT,
    ended_us      BIGINT,
    PRIMARY KEY (tenant, gateway, fingerprint)
) WITHOUT ROWID;
CREATE INDEX gateway_certificates_current ON gateway_certificates (not_after_us) WHERE state = 'current';

-- Since when a gateway is let in no more; NULL: it is, or it was added again.
ALTER TABLE gateway_keys ADD COLUMN revoked_us BIGINT;
