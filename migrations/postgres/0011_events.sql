-- What happened, as subscribers are told; each row is written in the transaction of the change that it tells. `data`: JSON.
-- Transactions do not commit in the order of `seq`: rows are read in the order of (horizon, seq), and only below the oldest
-- transaction that is still under way (src/store/postgres/events.rs).
CREATE TABLE events (
    horizon    BIGINT NOT NULL,
    seq        BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    type       TEXT COLLATE "C" NOT NULL,
    account    TEXT COLLATE "C",
    message_id TEXT COLLATE "C",
    batch_id   TEXT COLLATE "C",
    client     TEXT COLLATE "C",
    at         BIGINT NOT NULL,
    data       TEXT NOT NULL,
    PRIMARY KEY (horizon, seq)
);

CREATE INDEX events_message ON events (message_id) WHERE message_id IS NOT NULL;

-- When `batch.finished` was told, which happens once; and what of a batch is still under way.
ALTER TABLE batches ADD COLUMN finished_at BIGINT;
CREATE INDEX messages_batch_open ON messages (batch_id)
    WHERE batch_id IS NOT NULL AND state IN ('scheduled', 'queued', 'sending');
