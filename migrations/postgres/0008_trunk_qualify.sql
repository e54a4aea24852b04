-- How often a trunk is asked whether it is there, in seconds; 0: never.
ALTER TABLE trunks ADD COLUMN qualify_secs BIGINT NOT NULL DEFAULT 60;
