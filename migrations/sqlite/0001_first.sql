-- Times are milliseconds since 1970 UTC. Enums are stored by their text (src/domain). Which index serves which verb
-- stands in src/store/sqlite/mod.rs.

CREATE TABLE messages (
    id               TEXT    NOT NULL UNIQUE,
    account          TEXT    NOT NULL,
    client           TEXT    NOT NULL,
    touser           TEXT    NOT NULL,
    template_id      TEXT    NOT NULL,
    body             TEXT    NOT NULL,
    client_msg_id    TEXT    NOT NULL,
    lane             TEXT    NOT NULL,
    on_unknown       TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    state_reason     TEXT,
    msgid            TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    send_at          INTEGER,
    expires_at       INTEGER NOT NULL,
    due_at           INTEGER NOT NULL,
    lease_boot       TEXT,
    lease_generation INTEGER NOT NULL,
    leased_at        INTEGER,
    lease_until      INTEGER,
    tries            INTEGER NOT NULL,
    doubtful_since   INTEGER,
    busy_since       INTEGER,
    metadata         TEXT,
    retry_of         TEXT,
    batch_id         TEXT,
    trace            TEXT,
    attempts         TEXT    NOT NULL,
    history          TEXT    NOT NULL
) STRICT;

CREATE INDEX messages_due ON messages (lane, account, due_at) WHERE state IN ('scheduled', 'queued');
CREATE INDEX messages_expiry ON messages (expires_at) WHERE state IN ('scheduled', 'queued');
CREATE INDEX messages_lease ON messages (lease_until, lease_boot) WHERE state = 'sending';
CREATE INDEX messages_msgid ON messages (account, msgid) WHERE msgid IS NOT NULL;
CREATE INDEX messages_doubt ON messages (account, touser, doubtful_since)
    WHERE doubtful_since IS NOT NULL AND state IN ('queued', 'unknown', 'sent');
CREATE INDEX messages_trouble ON messages (state, id)
    WHERE state = 'undelivered' OR state = 'rejected' OR state = 'unknown' OR state = 'failed' OR state = 'expired';
CREATE INDEX messages_account ON messages (account, id);
CREATE INDEX messages_touser ON messages (touser, id);
CREATE INDEX messages_batch ON messages (batch_id, id) WHERE batch_id IS NOT NULL;

CREATE TABLE idempotency (
    client     TEXT    NOT NULL,
    endpoint   TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    body_hash  TEXT    NOT NULL,
    message_id TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (client, endpoint, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE callbacks (
    id          TEXT    NOT NULL UNIQUE,
    account     TEXT    NOT NULL,
    dedupe_key  TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    openid      TEXT,
    body        TEXT    NOT NULL,
    reply       TEXT,
    received_at INTEGER NOT NULL,
    UNIQUE (account, dedupe_key)
) STRICT;

CREATE TABLE receipts (
    id          INTEGER PRIMARY KEY,
    account     TEXT    NOT NULL,
    msgid       TEXT    NOT NULL,
    openid      TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    reason      TEXT,
    received_at INTEGER NOT NULL,
    callback_id TEXT    NOT NULL,
    message_id  TEXT,
    is_template INTEGER NOT NULL
) STRICT;

CREATE INDEX receipts_unmatched_msgid ON receipts (account, msgid) WHERE message_id IS NULL AND status <> 'other';
-- The last two columns let a count read the index alone.
CREATE INDEX receipts_unmatched_openid ON receipts (account, openid, received_at, message_id, status)
    WHERE message_id IS NULL AND status <> 'other';

CREATE TABLE users (
    account       TEXT    NOT NULL,
    openid        TEXT    NOT NULL,
    user_id       TEXT,
    subscribed    INTEGER,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    PRIMARY KEY (account, openid)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX users_user_id ON users (account, user_id) WHERE user_id IS NOT NULL;

CREATE TABLE keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    client        TEXT    NOT NULL,
    secret_sha256 TEXT    NOT NULL,
    scopes        TEXT    NOT NULL,
    accounts      TEXT,
    templates     TEXT,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    account      TEXT    NOT NULL PRIMARY KEY,
    app_id       TEXT    NOT NULL,
    sealed       TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    fetched_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    forced_at    INTEGER,
    forced_today INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    account TEXT    NOT NULL,
    lane    TEXT    NOT NULL,
    state   TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (account, lane, state)
) STRICT, WITHOUT ROWID;

-- accepted: messages ever accepted; keys: grows with every change of a key; probe: grows with every probe.
CREATE TABLE totals (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO totals (name, value) VALUES ('accepted', 0), ('keys', 0), ('probe', 0);
