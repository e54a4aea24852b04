-- What is to be known of the database itself. `identity` is random and made at the first start: a
-- journal is written to the database that it names, and to no other.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
