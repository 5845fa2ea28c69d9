INSERT INTO parks (account, until) VALUES ('shop', 1700000000000);
