-- Version 5 writes what version 4 wrote.
SELECT 1
