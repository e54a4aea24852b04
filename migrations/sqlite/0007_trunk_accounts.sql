-- Who we are to a trunk. The password is kept as it was given: digest needs it whole.
ALTER TABLE trunks ADD COLUMN username TEXT;
ALTER TABLE trunks ADD COLUMN password TEXT;
ALTER TABLE trunks ADD COLUMN realm    TEXT;
ALTER TABLE trunks ADD COLUMN register BOOLEAN NOT NULL DEFAULT FALSE;
