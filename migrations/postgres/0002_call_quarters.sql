-- What the dashboards count: ended calls by the quarter hour in which they were placed (zones lie
-- :30 and :45 off), so that no answer reads every call. Calls that are up are few and counted
-- themselves. `quarter` is created_at / 900000.

CREATE TABLE call_quarters (
    api_key   BIGINT NOT NULL REFERENCES api_keys (id),
    quarter   BIGINT NOT NULL,
    completed BIGINT NOT NULL DEFAULT 0,
    busy      BIGINT NOT NULL DEFAULT 0,
    no_answer BIGINT NOT NULL DEFAULT 0,
    failed    BIGINT NOT NULL DEFAULT 0,
    canceled  BIGINT NOT NULL DEFAULT 0,
    seconds   BIGINT NOT NULL DEFAULT 0,    -- talked, in completed calls
    humans    BIGINT NOT NULL DEFAULT 0,
    machines  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (api_key, quarter)
);

INSERT INTO call_quarters (api_key, quarter, completed, busy, no_answer, failed, canceled, seconds,
                           humans, machines)
SELECT api_key, created_at / 900000,
       SUM(CASE status WHEN 'completed' THEN 1 ELSE 0 END),
       SUM(CASE status WHEN 'busy' THEN 1 ELSE 0 END),
       SUM(CASE status WHEN 'no-answer' THEN 1 ELSE 0 END),
       SUM(CASE status WHEN 'failed' THEN 1 ELSE 0 END),
       SUM(CASE status WHEN 'canceled' THEN 1 ELSE 0 END),
       SUM(CASE status WHEN 'completed' THEN duration ELSE 0 END),
       SUM(CASE amd_status WHEN 'HUMAN' THEN 1 ELSE 0 END),
       SUM(CASE amd_status WHEN 'MACHINE' THEN 1 ELSE 0 END)
FROM calls WHERE ended_at IS NOT NULL GROUP BY api_key, created_at / 900000;

DROP INDEX calls_by_key;
CREATE INDEX calls_by_key ON calls (api_key, created_at, id);
CREATE INDEX calls_by_outcome ON calls (api_key, status, created_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX calls_up ON calls (api_key, created_at) WHERE ended_at IS NULL;
