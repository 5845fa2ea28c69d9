-- The clients of a lane and account take turns: their first due rows are found without walking along the backlog of one.
DROP INDEX messages_due;
CREATE INDEX messages_due ON messages (lane, account, client, due_at) WHERE state IN ('scheduled', 'queued');
