-- Since when a workflow is in force without a break, so that what was paid before starts nothing.
ALTER TABLE workflows ADD COLUMN since_us BIGINT;
UPDATE workflows SET since_us = created_us WHERE active = 1;

-- 1: it was done, and is only told again.
ALTER TABLE invoice_effects ADD COLUMN again BIGINT NOT NULL DEFAULT 0;
