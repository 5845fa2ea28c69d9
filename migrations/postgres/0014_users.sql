-- What users are called by the business (a JSON array, sorted), and whom a tag finds.
ALTER TABLE users ADD COLUMN tags TEXT COLLATE "C";

CREATE TABLE user_tags (
    account TEXT COLLATE "C" NOT NULL,
    tag     TEXT COLLATE "C" NOT NULL,
    openid  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account, tag, openid)
);

CREATE INDEX users_subscribed ON users (account, subscribed, openid) WHERE subscribed IS NOT NULL;
CREATE INDEX users_seen ON users (account, last_seen_at, openid);
