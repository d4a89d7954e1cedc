-- Links that stood when their device was erased, until it is heard again or the link ends: nobody
-- tells of a link that goes on standing.
CREATE TABLE standing_links (
    tenant          TEXT   NOT NULL,
    device          TEXT   NOT NULL,
    gateway         TEXT,
    link_changed_us BIGINT,
    PRIMARY KEY (tenant, device)
) WITHOUT ROWID;
