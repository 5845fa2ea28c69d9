-- Webhooks made at run time. Each secret is sealed under secrets.key, for its row and column. options: a JSON object
-- (src/domain/webhook).
CREATE TABLE webhooks (
    id              TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    url             TEXT    NOT NULL,
    secret          TEXT    NOT NULL,
    previous_secret TEXT,
    options         TEXT    NOT NULL,
    revision        BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);

-- How a webhook stands, also one of the file (webhook: its name, or its id): events up to (horizon, seq) were looked at.
-- boot: who runs its lane, where several processes serve the database.
CREATE TABLE webhook_lanes (
    webhook         TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    horizon         BIGINT NOT NULL,
    seq             BIGINT NOT NULL,
    disabled_reason TEXT COLLATE "C",
    disabled_at     BIGINT,
    boot            TEXT COLLATE "C",
    created_at      BIGINT NOT NULL
);

-- An event on its way to a webhook. next_at: when it is due; null when it is over, or waits for an earlier one of its message.
CREATE TABLE deliveries (
    seq            BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             TEXT COLLATE "C"    NOT NULL UNIQUE,
    webhook        TEXT COLLATE "C"    NOT NULL,
    event_id       TEXT COLLATE "C"    NOT NULL,
    event_type     TEXT COLLATE "C"    NOT NULL,
    message_id     TEXT COLLATE "C",
    status         TEXT COLLATE "C"    NOT NULL,
    attempts       BIGINT NOT NULL DEFAULT 0,
    next_at        BIGINT,
    status_code    BIGINT,
    error          TEXT,
    duration_ms    BIGINT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    first_tried_at BIGINT
);

CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_order ON deliveries (webhook, message_id, seq) WHERE status = 'pending' AND message_id IS NOT NULL;
CREATE INDEX deliveries_open ON deliveries (webhook, status, seq) WHERE status IN ('pending', 'dead');
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_message ON deliveries (message_id) WHERE message_id IS NOT NULL;

-- webhooks: grows with every change of a webhook.
INSERT INTO totals (name, value) VALUES ('webhooks', 0);
