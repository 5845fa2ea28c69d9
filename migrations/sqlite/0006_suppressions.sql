-- People who are not written to until something says that they can be again. `reason`: src/domain/suppression.rs.
CREATE TABLE suppressions (
    account TEXT    NOT NULL,
    openid  TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    errmsg  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (account, openid)
) STRICT, WITHOUT ROWID;
