-- Accounts made at run time. Each secret is sealed under secrets.key, for its row and column. options: a JSON object
-- (src/domain/account/settings.rs).
CREATE TABLE accounts (
    name                      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    app_id                    TEXT COLLATE "C" NOT NULL UNIQUE,
    app_secret                TEXT NOT NULL,
    token                     TEXT,
    encoding_aes_key          TEXT,
    previous_token            TEXT,
    previous_encoding_aes_key TEXT,
    options                   TEXT NOT NULL,
    revision                  BIGINT NOT NULL,
    created_at                BIGINT NOT NULL,
    updated_at                BIGINT NOT NULL
);

-- accounts: grows with every change of an account.
INSERT INTO totals (name, value) VALUES ('accounts', 0);
