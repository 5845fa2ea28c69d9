-- The clients of a lane and account take turns: their first due rows are found without walking along the backlog of one.
-- Nodes of the version before go on without their index; with a long backlog they lend more slowly until they are replaced.
CREATE INDEX messages_turns ON messages (lane, account, client, due_at, id) WHERE state IN ('scheduled', 'queued');
DROP INDEX messages_due;
ALTER INDEX messages_turns RENAME TO messages_due;
