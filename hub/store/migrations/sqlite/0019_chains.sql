-- A chain that is followed: how far (`number`, `hash`: NULL before the first block), what is final
-- of it, how often what is watched has changed (`interest`), and the number of the newest entry.
-- `stopped` says why the follower goes no further by itself.
CREATE TABLE chains (
    chain        TEXT   NOT NULL PRIMARY KEY,
    chain_id     BIGINT NOT NULL,
    number       BIGINT,
    hash         BLOB,
    final_number BIGINT,
    final_hash   BLOB,
    interest     BIGINT NOT NULL,
    last_entry   BIGINT NOT NULL,
    stopped      TEXT,
    changed_us   BIGINT NOT NULL
) WITHOUT ROWID;

-- The newest blocks of the branch that is followed, for walking back.
CREATE TABLE chain_blocks (
    chain  TEXT   NOT NULL REFERENCES chains (chain),
    number BIGINT NOT NULL,
    hash   BLOB   NOT NULL,
    parent BLOB   NOT NULL,
    PRIMARY KEY (chain, number)
) WITHOUT ROWID;

-- Which tenant (or, outside of a hub, who else) watches what: `kind` is 'event' (of `topic0`),
-- 'any' (every event) or 'native' (transfers of the native coin). What was processed before
-- `from_block` was not looked at for it.
CREATE TABLE chain_watches (
    chain      TEXT   NOT NULL REFERENCES chains (chain),
    tenant     TEXT   NOT NULL,
    address    BLOB   NOT NULL,
    kind       TEXT   NOT NULL,
    topic0     BLOB   NOT NULL,
    from_block BIGINT NOT NULL,
    PRIMARY KEY (chain, tenant, address, kind, topic0)
) WITHOUT ROWID;

-- What was seen in blocks. `state` is 'seen', 'retracted' or 'final'; `place` is the index in the
-- block: of the log, or of the transaction where `source` is 'native'.
CREATE TABLE chain_observations (
    chain      TEXT   NOT NULL REFERENCES chains (chain),
    block_hash BLOB   NOT NULL,
    source     TEXT   NOT NULL,
    place      BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    time_s     BIGINT NOT NULL,
    tx         BLOB   NOT NULL,
    ordinal    BIGINT NOT NULL,
    address    BLOB   NOT NULL,
    topics     BLOB   NOT NULL,
    data       BLOB   NOT NULL,
    state      TEXT   NOT NULL,
    PRIMARY KEY (chain, block_hash, source, place)
) WITHOUT ROWID;
CREATE INDEX chain_observations_by_number ON chain_observations (chain, number, source, place);
CREATE INDEX chain_observations_not_final ON chain_observations (chain, number) WHERE state = 'seen';

-- What became known, in the order in which it did, numbered from 1 without gaps. `kind` is
-- 'observed', 'retracted' or 'final'; `was_final` says that what is retracted had been final.
CREATE TABLE chain_entries (
    chain      TEXT   NOT NULL REFERENCES chains (chain),
    seq        BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    was_final  BIGINT NOT NULL,
    block_hash BLOB   NOT NULL,
    source     TEXT   NOT NULL,
    place      BIGINT NOT NULL,
    at_us      BIGINT NOT NULL,
    PRIMARY KEY (chain, seq)
) WITHOUT ROWID;
CREATE INDEX chain_entries_of_observation ON chain_entries (chain, block_hash, source, place);

-- How far each reader of the entries has come.
CREATE TABLE chain_readers (
    chain    TEXT   NOT NULL REFERENCES chains (chain),
    reader   TEXT   NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (chain, reader)
) WITHOUT ROWID;
