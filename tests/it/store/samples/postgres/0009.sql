-- What version 9 writes besides.
INSERT INTO accounts (name, app_id, app_secret, token, options, revision, created_at, updated_at)
VALUES ('branch', 'wx0123456789abcdef', 'c2VhbGVk', 'c2VhbGVk', '{"mode":"plain"}', 1, 1700000006000, 1700000006000)
