-- Version 7 writes what version 6 wrote.
SELECT 1
