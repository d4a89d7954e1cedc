-- Which purchases of device commands are under way: they have places, of which a tenant has a share. What is looked
-- at still and has none (`wakes_us`) was captured, or is over.
ALTER TABLE purchases ADD COLUMN under_way BIGINT NOT NULL DEFAULT 0;
UPDATE purchases SET under_way = 1
WHERE wakes_us IS NOT NULL
  AND json_extract(body, '$.charge.stage') IN ('waiting', 'acting', 'capturing', 'refunding');
CREATE INDEX purchases_under_way ON purchases (tenant) WHERE under_way = 1;
