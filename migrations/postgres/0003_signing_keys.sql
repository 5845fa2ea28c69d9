-- sealed_secret: the secret's text, sealed under secrets.key; only of keys that sign requests.
-- last_used_at: a minute behind at most.
ALTER TABLE keys ADD COLUMN sealed_secret TEXT;
ALTER TABLE keys ADD COLUMN last_used_at  BIGINT;
