-- Version 4: which changes hold which entries of a topic or of a tenant. The rows of what was there
-- before are written by `series::index_all`.
CREATE TABLE series (
    id     INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    topic  TEXT NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, topic)
) STRICT;

CREATE TABLE stretches (
    series    INTEGER NOT NULL REFERENCES series (id),
    before    INTEGER NOT NULL,
    count     INTEGER NOT NULL CHECK (count > 0),
    offset    INTEGER NOT NULL,
    author    INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    next_seq  INTEGER NOT NULL,
    PRIMARY KEY (series, before)
) STRICT, WITHOUT ROWID;

CREATE TABLE archived (
    series  INTEGER NOT NULL REFERENCES series (id),
    author  BLOB NOT NULL CHECK (length(author) = 32),
    through INTEGER NOT NULL,
    PRIMARY KEY (series, author)
) STRICT, WITHOUT ROWID;
