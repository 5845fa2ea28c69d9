-- `message_ids`: a JSON array of ids, in the order of the request. `rejected`: a JSON array of the items that became no
-- message (src/domain/batch.rs). In `idempotency`, the key of a batch has the batch's id in `message_id`.
CREATE TABLE batches (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    client      TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    message_ids TEXT NOT NULL,
    rejected    TEXT NOT NULL
);
