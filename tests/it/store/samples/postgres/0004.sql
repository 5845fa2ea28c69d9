-- Version 4 writes what version 3 wrote.
SELECT 1
