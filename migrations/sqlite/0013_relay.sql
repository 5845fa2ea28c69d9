-- How a callback that goes to a back end stands (src/domain/relay.rs); NULL: none is asked.
ALTER TABLE callbacks ADD COLUMN relay TEXT;
