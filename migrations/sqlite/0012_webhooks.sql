-- Webhooks made at run time. Each secret is sealed under secrets.key, for its row and column. options: a JSON object
-- (src/domain/webhook).
CREATE TABLE webhooks (
    id              TEXT    NOT NULL PRIMARY KEY,
    url             TEXT    NOT NULL,
    secret          TEXT    NOT NULL,
    previous_secret TEXT,
    options         TEXT    NOT NULL,
    revision        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How a webhook stands, also one of the file (webhook: its name, or its id): events up to (horizon, seq) were looked at.
-- boot: who runs its lane, where several processes serve the database.
CREATE TABLE webhook_lanes (
    webhook         TEXT    NOT NULL PRIMARY KEY,
    horizon         INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    disabled_reason TEXT,
    disabled_at     INTEGER,
    boot            TEXT,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An event on its way to a webhook. next_at: when it is due; null when it is over, or waits for an earlier one of its message.
CREATE TABLE deliveries (
    seq            INTEGER PRIMARY KEY,
    id             TEXT    NOT NULL UNIQUE,
    webhook        TEXT    NOT NULL,
    event_id       TEXT    NOT NULL,
    event_type     TEXT    NOT NULL,
    message_id     TEXT,
    status         TEXT    NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    next_at        INTEGER,
    status_code    INTEGER,
    error          TEXT,
    duration_ms    INTEGER,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    first_tried_at INTEGER
) STRICT;

CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_order ON deliveries (webhook, message_id) WHERE status = 'pending' AND message_id IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (webhook, status) WHERE status IN ('pending', 'dead');
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_message ON deliveries (message_id) WHERE message_id IS NOT NULL;

-- webhooks: grows with every change of a webhook.
INSERT INTO totals (name, value) VALUES ('webhooks', 0);
