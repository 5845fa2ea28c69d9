-- Accounts whose quota of the day is used up; `until`: ms since 1970.
CREATE TABLE parks (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    until   BIGINT NOT NULL
);
