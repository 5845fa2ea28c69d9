INSERT INTO events (horizon, id, type, account, message_id, client, at, data) VALUES
    (1, 'evt_01HF7YATZ80000000000000001', 'message.sent', 'shop', 'msg_01HF7YAT000000000000000002', 'crm', 1700000001000, '{"state":"sent"}');
