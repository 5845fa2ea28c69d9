-- Rows that version 2 writes besides.
INSERT INTO batches VALUES (
    'bat_01HF7YAT00AAAAAAAAAAAAAAAA', 'crm', 1700000000000, '["msg_01HF7YAT00AAAAAAAAAAAAAAAA"]',
    '[{"index":1,"code":"unknown_user","detail":"no user"}]'
)
