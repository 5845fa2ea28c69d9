-- Messages that WeChat may have shown although they are in no doubt: see src/store/postgres/receipts.rs.
CREATE INDEX messages_rivals ON messages (account, touser)
    WHERE busy_since IS NOT NULL OR (state = 'failed' AND doubtful_since IS NOT NULL);
