-- What version 3 writes besides.
UPDATE keys SET sealed_secret = 'c2VhbGVk', last_used_at = 1700000005000
