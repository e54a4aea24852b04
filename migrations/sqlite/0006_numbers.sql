-- Numbers on which trunks may call in: each belongs to one key.
CREATE TABLE numbers (
    number      TEXT    PRIMARY KEY,       -- cleaned, as a Request-URI's user is
    api_key     BIGINT  NOT NULL REFERENCES api_keys (id),
    webhook_url TEXT,
    answer      BOOLEAN NOT NULL,          -- at once, or by POST /answer
    created_at  BIGINT  NOT NULL
);
