-- What version 12 writes besides.
INSERT INTO webhooks (id, url, secret, options, revision, created_at, updated_at)
VALUES ('wh_01HF7YAT00AAAAAAAAAAAAAAAA', 'https://crm.example.com/hook', 'c2VhbGVk', '{"description":null,"events":["message.*"],"accounts":["shop"]}', 1, 1700000008000, 1700000008000);
INSERT INTO webhook_lanes (webhook, horizon, seq, created_at) VALUES ('wh_01HF7YAT00AAAAAAAAAAAAAAAA', 0, 1, 1700000008000);
INSERT INTO deliveries (id, webhook, event_id, event_type, message_id, status, attempts, status_code, duration_ms, created_at, updated_at, first_tried_at)
VALUES ('whd_01HF7YAT00AAAAAAAAAAAAAAAA', 'wh_01HF7YAT00AAAAAAAAAAAAAAAA', 'evt_01HF7YATZ80000000000000001', 'message.sent', 'msg_01HF7YAT000000000000000002',
    'delivered', 1, 204, 12, 1700000008000, 1700000008100, 1700000008000);
