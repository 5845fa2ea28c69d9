-- What users are called by the business (a JSON array, sorted), and whom a tag finds.
ALTER TABLE users ADD COLUMN tags TEXT;

CREATE TABLE user_tags (
    account TEXT NOT NULL,
    tag     TEXT NOT NULL,
    openid  TEXT NOT NULL,
    PRIMARY KEY (account, tag, openid)
) STRICT, WITHOUT ROWID;

CREATE INDEX users_subscribed ON users (account, subscribed, openid) WHERE subscribed IS NOT NULL;
CREATE INDEX users_seen ON users (account, last_seen_at, openid);
