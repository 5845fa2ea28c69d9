-- Administrative acts. details: a JSON object (src/domain/audit.rs).
CREATE TABLE audit (
    id         TEXT    NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    key_id     TEXT,
    action     TEXT    NOT NULL,
    account    TEXT,
    object     TEXT    NOT NULL,
    details    TEXT    NOT NULL,
    request_id TEXT,
    remote     TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_account ON audit (account, id) WHERE account IS NOT NULL;
