-- Kaphila's tables on SQLite. Times are Unix milliseconds UTC; lists and objects are JSON text.
-- migrations/postgres holds the same tables; the queries in src/store/sql run on both.

CREATE TABLE api_keys (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id             TEXT    NOT NULL UNIQUE,
    name               TEXT    NOT NULL,
    -- Both follow the ledger: credits = sum(credits), holds = sum(holds). The checks are the
    -- last line of defence; every change is a guarded update.
    credits            BIGINT  NOT NULL DEFAULT 0,
    holds              BIGINT  NOT NULL DEFAULT 0 CHECK (holds >= 0),
    rate_limit         BIGINT  NOT NULL DEFAULT 100,
    window_start       BIGINT  NOT NULL DEFAULT 0,
    window_count       BIGINT  NOT NULL DEFAULT 0,
    total_calls        BIGINT  NOT NULL DEFAULT 0,
    successful_calls   BIGINT  NOT NULL DEFAULT 0,
    caller_id          TEXT,
    allowed_caller_ids TEXT    NOT NULL DEFAULT '[]',
    record_default     BOOLEAN NOT NULL DEFAULT TRUE,
    max_calls          BIGINT,
    max_cps            BIGINT,
    allow_prefixes     TEXT    NOT NULL DEFAULT '[]',
    deny_prefixes      TEXT    NOT NULL DEFAULT '[]',
    webhook_secret     TEXT    NOT NULL,
    old_webhook_secret TEXT,
    old_webhook_until  BIGINT,
    -- The trunk with which the key's last call began: round robin goes on after it.
    last_trunk         BIGINT,
    revoked            BOOLEAN NOT NULL DEFAULT FALSE,
    created_at         BIGINT  NOT NULL,
    last_used          BIGINT,
    CHECK (credits >= holds)
);

-- SHA-256 of each key that opens an account, in hexadecimal. A rotated key keeps its row until
-- its grace is over.
CREATE TABLE api_key_hashes (
    hash       TEXT   PRIMARY KEY,
    api_key    BIGINT NOT NULL REFERENCES api_keys (id),
    expires_at BIGINT
);
CREATE INDEX api_key_hashes_by_key ON api_key_hashes (api_key);

CREATE TABLE trunks (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT    NOT NULL UNIQUE,
    uri             TEXT    NOT NULL,
    prefix          TEXT    NOT NULL DEFAULT '00',
    caller_id       TEXT,
    from_domain     TEXT,
    identity        TEXT    NOT NULL DEFAULT 'none',
    max_channels    BIGINT,
    max_cps         BIGINT,
    codecs          TEXT    NOT NULL DEFAULT '[]',
    allow           TEXT    NOT NULL DEFAULT '[]',
    learn_rtp       BOOLEAN NOT NULL DEFAULT FALSE,
    allow_star_hash BOOLEAN NOT NULL DEFAULT FALSE,
    allow_prefixes  TEXT    NOT NULL DEFAULT '[]',
    deny_prefixes   TEXT    NOT NULL DEFAULT '[]',
    disabled        BOOLEAN NOT NULL DEFAULT FALSE,
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL
);

CREATE TABLE key_trunks (
    api_key  BIGINT NOT NULL REFERENCES api_keys (id),
    trunk    BIGINT NOT NULL REFERENCES trunks (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    PRIMARY KEY (api_key, trunk)
);
CREATE INDEX key_trunks_by_trunk ON key_trunks (trunk);

CREATE TABLE calls (
    id             INTEGER PRIMARY KEY,    -- the n of <unix seconds>.<n>
    call_id        TEXT    NOT NULL UNIQUE,
    api_key        BIGINT  NOT NULL REFERENCES api_keys (id),
    node           BIGINT  NOT NULL,
    direction      TEXT    NOT NULL,
    number         TEXT    NOT NULL,
    callee         TEXT    NOT NULL,
    caller_id      TEXT,
    webhook_url    TEXT,
    metadata       TEXT,
    use_amd        BOOLEAN NOT NULL,
    voice_name     TEXT,
    ring_timeout   BIGINT  NOT NULL,
    record         BOOLEAN NOT NULL,
    charged        BOOLEAN NOT NULL,       -- takes a hold and, when answered, a credit
    status         TEXT    NOT NULL,
    trunk          TEXT,
    -- What an orphaned leg needs to be cancelled or hung up after a crash.
    sip_call_id    TEXT    NOT NULL,
    from_tag       TEXT    NOT NULL,
    branch         TEXT    NOT NULL,
    cseq           BIGINT  NOT NULL,
    remote         TEXT    NOT NULL,
    transport      TEXT    NOT NULL,
    dialog         TEXT,
    created_at     BIGINT  NOT NULL,
    answered_at    BIGINT,
    ended_at       BIGINT,
    end_reason     TEXT,
    hangup_cause   TEXT,
    ended_by       TEXT,
    sip_status     BIGINT,
    sip_reason     TEXT,
    duration       BIGINT  NOT NULL DEFAULT 0,
    amd_status     TEXT,
    amd_cause      TEXT,
    amd_confidence DOUBLE PRECISION,
    attempts       TEXT,
    quality        TEXT
);
CREATE INDEX calls_by_key ON calls (api_key, id);
CREATE INDEX calls_by_age ON calls (created_at);
CREATE INDEX calls_open ON calls (node) WHERE ended_at IS NULL;

CREATE TABLE recordings (
    recording_id TEXT   PRIMARY KEY,
    call         BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    api_key      BIGINT NOT NULL REFERENCES api_keys (id),
    filename     TEXT   NOT NULL UNIQUE,
    channels     BIGINT NOT NULL,
    started_at   BIGINT NOT NULL,
    finished_at  BIGINT,
    bytes        BIGINT NOT NULL DEFAULT 0,
    duration_ms  BIGINT NOT NULL DEFAULT 0,
    partial      TEXT
);
CREATE INDEX recordings_by_call ON recordings (call);
CREATE INDEX recordings_by_key ON recordings (api_key, started_at);
CREATE INDEX recordings_by_age ON recordings (started_at);
CREATE INDEX recordings_unfinished ON recordings (call) WHERE finished_at IS NULL;

-- Append-only: its sums are the truth about money, api_keys carries them along.
CREATE TABLE ledger (
    id      INTEGER PRIMARY KEY,
    api_key BIGINT NOT NULL REFERENCES api_keys (id),
    call    BIGINT,
    kind    TEXT   NOT NULL CHECK (kind IN ('hold', 'deduct', 'release', 'credit')),
    credits BIGINT NOT NULL,
    holds   BIGINT NOT NULL,
    note    TEXT,
    at      BIGINT NOT NULL
);
CREATE INDEX ledger_by_key ON ledger (api_key);
-- A call takes at most one hold and settles it at most once, whatever is replayed.
CREATE UNIQUE INDEX ledger_hold_once ON ledger (call) WHERE kind = 'hold';
CREATE UNIQUE INDEX ledger_settle_once ON ledger (call) WHERE kind IN ('deduct', 'release');

CREATE TRIGGER ledger_keeps_rows BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_keeps_values BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;

CREATE TABLE idempotency (
    api_key    BIGINT NOT NULL REFERENCES api_keys (id),
    token      TEXT   NOT NULL,
    body_hash  TEXT   NOT NULL,
    call       BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    status     BIGINT,
    response   TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (api_key, token)
);
CREATE INDEX idempotency_by_call ON idempotency (call);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE outbox (
    call         BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    sequence     BIGINT NOT NULL,
    api_key      BIGINT NOT NULL,
    event        TEXT   NOT NULL,
    url          TEXT   NOT NULL,
    payload      TEXT,                     -- erased a day after delivery: it can hold digits
    state        TEXT   NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts     BIGINT NOT NULL DEFAULT 0,
    next_at      BIGINT NOT NULL,
    last_error   TEXT,
    created_at   BIGINT NOT NULL,
    delivered_at BIGINT,
    PRIMARY KEY (call, sequence)
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (created_at) WHERE state = 'dead';
CREATE INDEX outbox_erasable ON outbox (delivered_at) WHERE state = 'delivered' AND payload IS NOT NULL;

-- The last moment at which a node is known to have been alive.
CREATE TABLE nodes (
    node      BIGINT PRIMARY KEY,
    heartbeat BIGINT NOT NULL
);
