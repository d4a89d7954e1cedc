-- The leaves of LMS keys that pushed updates were signed by, and the SHA-256 of each signature: a
-- leaf with two signatures is a key whose state was used twice.
CREATE TABLE update_leaves (
    tenant    TEXT   NOT NULL REFERENCES tenants (tenant),
    key       BLOB   NOT NULL,
    leaf      BIGINT NOT NULL,
    signature BLOB   NOT NULL,
    PRIMARY KEY (tenant, key, leaf)
) WITHOUT ROWID;
