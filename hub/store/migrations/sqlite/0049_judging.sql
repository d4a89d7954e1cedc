-- How rights to command devices stood when, where they did not simply hold: two tracks, by hand (`by_cause` 0)
-- and by what a right was given for (1). A standing is in force from `from_us` to the next one of its track;
-- `known_us` is when the hub heard of it.
CREATE TABLE access_standings (
    tenant   TEXT   NOT NULL REFERENCES tenants (tenant),
    right_id TEXT   NOT NULL,
    by_cause BIGINT NOT NULL,
    from_us  BIGINT NOT NULL,
    standing TEXT   NOT NULL,
    known_us BIGINT NOT NULL,
    PRIMARY KEY (tenant, right_id, by_cause, from_us)
) WITHOUT ROWID;
-- What is known of rights that were given before: how they stand now.
INSERT INTO access_standings (tenant, right_id, by_cause, from_us, standing, known_us)
SELECT r.tenant, r.right_id,
    CASE WHEN c.standing = 'suspended' THEN r.taken ELSE 0 END, c.changed_us,
    CASE WHEN c.standing = 'suspended' AND r.taken = 1
        THEN CASE WHEN r.source = 'token' THEN 'sold' ELSE 'taken_back' END
        ELSE c.standing END,
    c.changed_us
FROM access_rights r JOIN credentials c ON c.tenant = r.tenant AND c.credential = r.right_id
WHERE c.standing <> 'good';

-- How often a right's standings changed: a receipt that was judged by other ones is judged again.
ALTER TABLE access_rights ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- Rights whose receipts are to be judged again, and how far that has come: `turn` changes whenever there is
-- a reason more, and at_us, gateway, chain and number are the last one's that was judged.
CREATE TABLE access_judging (
    tenant    TEXT   NOT NULL REFERENCES tenants (tenant),
    right_id  TEXT   NOT NULL,
    turn      BIGINT NOT NULL,
    queued_us BIGINT NOT NULL,
    at_us     BIGINT NOT NULL,
    gateway   TEXT   NOT NULL,
    chain     TEXT   NOT NULL,
    number    BIGINT NOT NULL,
    PRIMARY KEY (tenant, right_id)
) WITHOUT ROWID;
CREATE INDEX access_judging_by_time ON access_judging (queued_us, tenant, right_id);

-- The right that a receipt names, so that it can be judged again; and whether workflows were told of it.
ALTER TABLE access_receipts ADD COLUMN right_id TEXT NOT NULL DEFAULT '';
ALTER TABLE access_receipts ADD COLUMN told BIGINT NOT NULL DEFAULT 0;
UPDATE access_receipts SET told = conflict IS NOT NULL,
    right_id = COALESCE(CASE WHEN json_valid(body) THEN json_extract(body, '$.right') END, '');
CREATE INDEX access_receipts_by_right ON access_receipts (tenant, right_id, at_us, gateway, chain, number);
