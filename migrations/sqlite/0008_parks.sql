-- Accounts whose quota of the day is used up; `until`: ms since 1970.
CREATE TABLE parks (
    account TEXT    NOT NULL PRIMARY KEY,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
