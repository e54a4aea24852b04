-- How numbers are written for a trunk: leading digits that are dropped before its prefix, what stands
-- before the caller's number, and whether the caller is to be kept from whom it calls (RFC 3323).
ALTER TABLE trunks ADD COLUMN strip_digits  INTEGER  NOT NULL DEFAULT 0;
ALTER TABLE trunks ADD COLUMN caller_prefix TEXT    NOT NULL DEFAULT '';
ALTER TABLE trunks ADD COLUMN privacy       BOOLEAN NOT NULL DEFAULT FALSE;
