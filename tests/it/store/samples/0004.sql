-- What version 4 writes besides: what was answered with "busy" stays known, whatever the message becomes.
UPDATE messages SET busy_since = 1700000000500 WHERE state = 'sent'
