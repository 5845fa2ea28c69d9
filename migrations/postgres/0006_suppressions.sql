-- People who are not written to until something says that they can be again. `reason`: src/domain/suppression.rs.
-- `number` grows: what a node does not know yet has a higher one than what it knows, or nearly so.
CREATE TABLE suppressions (
    account TEXT COLLATE "C" NOT NULL,
    openid  TEXT COLLATE "C" NOT NULL,
    reason  TEXT NOT NULL,
    errmsg  TEXT NOT NULL,
    since   BIGINT NOT NULL,
    number  BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    PRIMARY KEY (account, openid)
);
