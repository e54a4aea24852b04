-- Append-only: who changed what, and when; old and new values, never a secret. What calls do to
-- credits stands in the ledger and is not repeated here.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    act     TEXT   NOT NULL,
    key_id  TEXT,
    subject TEXT   NOT NULL,
    changes TEXT   NOT NULL            -- {"name": [old, new], …}
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_key ON audit (key_id, at);

CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
-- INSERT OR REPLACE deletes without asking the triggers above.
CREATE TRIGGER audit_replaces_nothing BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
