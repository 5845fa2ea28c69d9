-- What version 13 writes besides.
UPDATE callbacks SET relay = 'answered' WHERE id = (SELECT min(id) FROM callbacks);
