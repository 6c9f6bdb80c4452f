-- Version 1. docs/storage.md explains every table; this file is never edited once shipped.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE authors (
    id   INTEGER PRIMARY KEY,
    node BLOB NOT NULL UNIQUE CHECK (length(node) = 32)
) STRICT;

CREATE TABLE segments (
    id         INTEGER PRIMARY KEY,
    name       BLOB NOT NULL UNIQUE CHECK (length(name) = 16),
    author     INTEGER NOT NULL REFERENCES authors (id),
    opening    TEXT NOT NULL,
    first_seq  INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    tip        INTEGER NOT NULL CHECK (tip IN (0, 1))
) STRICT;
CREATE INDEX segments_of_author ON segments (author, first_seq);
CREATE INDEX tips ON segments (author) WHERE tip = 1;

CREATE TABLE changes (
    offset     INTEGER PRIMARY KEY,
    segment    INTEGER NOT NULL REFERENCES segments (id),
    first_seq  INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    count      INTEGER NOT NULL CHECK (count > 0),
    first_time INTEGER NOT NULL,
    last_time  INTEGER NOT NULL,
    skew       INTEGER NOT NULL CHECK (skew IN (0, 1)),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    signature  BLOB CHECK (length(signature) = 64),
    so_far     INTEGER NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX changes_of_segment ON changes (segment, first_seq);

-- What is held of each segment: its newest change tells, so that an append writes no row of it.
CREATE VIEW held AS
SELECT s.id, s.name, s.author, s.opening, s.first_seq, s.first_time, s.tip,
    c.first_seq + c.count AS next_seq, c.position + 1 AS changes, c.so_far AS bytes,
    c.last_time, c.hash AS head
FROM segments s JOIN changes c ON c.segment = s.id
    AND c.first_seq = (SELECT max(first_seq) FROM changes WHERE segment = s.id);

CREATE TABLE emits (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    next     INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    recorded INTEGER NOT NULL,
    dropped  INTEGER NOT NULL,
    gaps     INTEGER NOT NULL
) STRICT;
INSERT INTO emits VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE idempotency_keys (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    key       TEXT NOT NULL UNIQUE,
    digest    BLOB NOT NULL CHECK (length(digest) = 32),
    first_seq INTEGER NOT NULL,
    count     INTEGER NOT NULL
) STRICT;
