-- What version 14 writes besides.
UPDATE users SET tags = '["vip"]' WHERE account = 'shop' AND user_id = 'u7';
INSERT INTO user_tags (account, tag, openid) SELECT account, 'vip', openid FROM users WHERE account = 'shop' AND user_id = 'u7';
