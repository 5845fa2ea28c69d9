-- Accounts made at run time. Each secret is sealed under secrets.key, for its row and column. options: a JSON object
-- (src/domain/account/settings.rs).
CREATE TABLE accounts (
    name                      TEXT    NOT NULL PRIMARY KEY,
    app_id                    TEXT    NOT NULL UNIQUE,
    app_secret                TEXT    NOT NULL,
    token                     TEXT,
    encoding_aes_key          TEXT,
    previous_token            TEXT,
    previous_encoding_aes_key TEXT,
    options                   TEXT    NOT NULL,
    revision                  INTEGER NOT NULL,
    created_at                INTEGER NOT NULL,
    updated_at                INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- accounts: grows with every change of an account.
INSERT INTO totals (name, value) VALUES ('accounts', 0);
