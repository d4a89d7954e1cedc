-- By tenant, so that the runs of one do not stand in the way of another's.
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (tenant, due_us, at_us) WHERE due_us IS NOT NULL;
