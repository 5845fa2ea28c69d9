-- What happened, as subscribers are told; each row is written in the transaction of the change that it tells. `data`: JSON.
-- Numbers only grow: the newest row is never deleted.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    type       TEXT    NOT NULL,
    account    TEXT,
    message_id TEXT,
    batch_id   TEXT,
    client     TEXT,
    at         INTEGER NOT NULL,
    data       TEXT    NOT NULL
) STRICT;

CREATE INDEX events_message ON events (message_id) WHERE message_id IS NOT NULL;

-- When `batch.finished` was told, which happens once; and what of a batch is still under way.
ALTER TABLE batches ADD COLUMN finished_at INTEGER;
CREATE INDEX messages_batch_open ON messages (batch_id)
    WHERE batch_id IS NOT NULL AND state IN ('scheduled', 'queued', 'sending');
