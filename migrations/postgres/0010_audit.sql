-- Administrative acts. details: a JSON object (src/domain/audit.rs).
CREATE TABLE audit (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    key_id     TEXT COLLATE "C",
    action     TEXT COLLATE "C" NOT NULL,
    account    TEXT COLLATE "C",
    object     TEXT COLLATE "C" NOT NULL,
    details    TEXT NOT NULL,
    request_id TEXT,
    remote     TEXT
);

CREATE INDEX audit_account ON audit (account, id) WHERE account IS NOT NULL;
