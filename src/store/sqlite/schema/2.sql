-- Version 2: a segment has a row for each of its sides, since its author may fork it.
DROP VIEW held;

CREATE TABLE segments_2 (
    id         INTEGER PRIMARY KEY,
    name       BLOB NOT NULL CHECK (length(name) = 16),
    side       INTEGER NOT NULL,
    author     INTEGER NOT NULL REFERENCES authors (id),
    opening    TEXT NOT NULL,
    first_seq  INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    start_time INTEGER NOT NULL,
    forks_off  INTEGER,
    tip        INTEGER NOT NULL CHECK (tip IN (0, 1)),
    UNIQUE (name, side)
) STRICT;
INSERT INTO segments_2
    SELECT id, name, 0, author, opening, first_seq, first_seq, first_time, NULL, tip FROM segments;
DROP TABLE segments;
ALTER TABLE segments_2 RENAME TO segments;
CREATE INDEX segments_of_author ON segments (author, start);
CREATE INDEX tips ON segments (author) WHERE tip = 1;

-- Whether an author ever had two tips at a time: only then can two of its entries share a seq.
ALTER TABLE authors ADD COLUMN branched INTEGER NOT NULL DEFAULT 0 CHECK (branched IN (0, 1));
UPDATE authors SET branched = 1
    WHERE (SELECT count(*) FROM segments WHERE author = authors.id AND tip = 1) > 1;

CREATE INDEX branched ON authors (node) WHERE branched = 1;

-- What is held of each strand: its newest change tells, so that an append writes no row of it.
CREATE VIEW held AS
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, c.first_seq + c.count AS next_seq, c.position + 1 AS changes, c.so_far AS bytes,
    c.last_time, c.hash AS head
FROM segments s JOIN changes c ON c.segment = s.id
    AND c.first_seq = (SELECT max(first_seq) FROM changes WHERE segment = s.id);
