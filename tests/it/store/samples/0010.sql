-- What version 10 writes besides.
INSERT INTO audit (id, at, actor, key_id, action, account, object, details, request_id, remote)
VALUES ('aud_01HF7YAT00AAAAAAAAAAAAAAAA', 1700000007000, 'ops', 'key_1', 'account.changed', 'branch', 'branch', '{"fields":["token"]}', 'r1', '127.0.0.1')
