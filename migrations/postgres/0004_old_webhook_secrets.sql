-- Replaced webhook secrets: each signs too until its day is over, however often it is replaced.
CREATE TABLE old_webhook_secrets (
    api_key BIGINT NOT NULL REFERENCES api_keys (id),
    secret  TEXT   NOT NULL,
    until   BIGINT NOT NULL,
    PRIMARY KEY (api_key, secret)
);
INSERT INTO old_webhook_secrets (api_key, secret, until)
    SELECT id, old_webhook_secret, old_webhook_until FROM api_keys
    WHERE old_webhook_secret IS NOT NULL AND old_webhook_until IS NOT NULL;
ALTER TABLE api_keys DROP COLUMN old_webhook_secret;
ALTER TABLE api_keys DROP COLUMN old_webhook_until;
