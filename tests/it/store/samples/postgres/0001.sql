-- Rows as version 1 writes them.
INSERT INTO messages VALUES (
    'msg_01HF7YAT00AAAAAAAAAAAAAAAA', 'shop', 'crm', 'o1', 'TPL', '{"touser":"o1"}', '01HF7YAT00AAAAAAAAAAAAAAAA', 'normal',
    'retry', 'sent', NULL, '3487542469355618313', 1700000000000, 1700000001000, NULL, 1700003600000, 1700000000000,
    'boot_01HF7YAT00AAAAAAAAAAAAAAAA', 1, 1700000000000, 1700000060000, 0, NULL, NULL, '{"order":"7"}', NULL, NULL, NULL,
    '{"at":"2023-11-14T22:13:20.500Z","duration_ms":40,"errcode":0,"errmsg":"ok","outcome":"accepted"}
', '{"state":"queued","at":"2023-11-14T22:13:20.000Z"}
{"state":"sending","at":"2023-11-14T22:13:20.000Z"}
{"state":"sent","at":"2023-11-14T22:13:21.000Z"}
');
INSERT INTO messages VALUES (
    'msg_01HF7YAT01AAAAAAAAAAAAAAAA', 'shop', 'crm', 'o2', 'TPL', '{"touser":"o2"}', '01HF7YAT01AAAAAAAAAAAAAAAA', 'urgent',
    'hold', 'queued', NULL, NULL, 1700000000000, 1700000000000, NULL, 1700003600000, 1700000000000, NULL, 0, NULL, NULL, 0,
    NULL, NULL, NULL, NULL, NULL, NULL, '', '{"state":"queued","at":"2023-11-14T22:13:20.000Z"}
');
INSERT INTO idempotency VALUES ('crm', 'send-template', 'k', 'hash', 'msg_01HF7YAT00AAAAAAAAAAAAAAAA', 1700000000000);
INSERT INTO callbacks VALUES ('cbk_01HF7YAT00AAAAAAAAAAAAAAAA', 'shop', 'k', 'text', 'o1', '<xml/>', NULL, 1700000005000);
INSERT INTO receipts VALUES
    (1, 'shop', '900', 'o3', 'delivered', NULL, 1700000005000, 'cbk_01HF7YAT00AAAAAAAAAAAAAAAA', NULL, true),
    (2, 'shop', '901', 'o3', 'other', 'pending', 1700000005000, 'cbk_01HF7YAT00AAAAAAAAAAAAAAAA', NULL, true);
INSERT INTO users VALUES ('shop', 'o1', 'u7', true, 1700000000000, 1700000005000);
INSERT INTO keys VALUES ('key_01HF7YAT00AAAAAAAAAAAAAAAA', 'crm', 'ab', 'send read', '["shop"]', NULL, 1700000000000, NULL, NULL);
INSERT INTO tokens VALUES ('shop', 'wx1', 'c2VhbGVk', 3, 1700000000000, 1700007200000, NULL, 0);
INSERT INTO counts VALUES ('shop', 'normal', 'sent', 1), ('shop', 'urgent', 'queued', 1);
UPDATE totals SET value = 2 WHERE name = 'accepted'
