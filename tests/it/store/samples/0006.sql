-- What version 6 writes besides.
INSERT INTO suppressions (account, openid, reason, errmsg, since)
VALUES ('shop', 'o9', 'not_subscribed', 'require subscribe', 1700000000000)
