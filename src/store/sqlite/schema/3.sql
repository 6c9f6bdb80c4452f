-- Version 3: blocks, each of which holds consecutive changes of a strand in one compact record.
CREATE TABLE blocks (
    id         INTEGER PRIMARY KEY,
    segment    INTEGER NOT NULL REFERENCES segments (id),
    first_seq  INTEGER NOT NULL,
    next_seq   INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    changes    INTEGER NOT NULL CHECK (changes > 0),
    first_time INTEGER NOT NULL,
    last_time  INTEGER NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    signature  BLOB NOT NULL CHECK (length(signature) = 64),
    so_far     INTEGER NOT NULL,
    arrivals   BLOB NOT NULL,
    record     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX blocks_of_segment ON blocks (segment, first_seq);

-- Where entries of blocks stand in the order of arrival.
CREATE TABLE pieces (
    offset INTEGER PRIMARY KEY,
    count  INTEGER NOT NULL CHECK (count > 0),
    block  INTEGER NOT NULL
) STRICT;

-- What is held of each strand: its newest change tells, or its newest block.
DROP VIEW held;
CREATE VIEW held AS
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, c.first_seq + c.count AS next_seq, c.position + 1 AS changes, c.so_far AS bytes,
    c.last_time, c.hash AS head
FROM segments s JOIN changes c ON c.segment = s.id
    AND c.first_seq = (SELECT max(first_seq) FROM changes WHERE segment = s.id)
WHERE c.first_seq > coalesce((SELECT max(first_seq) FROM blocks WHERE segment = s.id), -1)
UNION ALL
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, b.next_seq, b.position + b.changes, b.so_far, b.last_time, b.hash
FROM segments s JOIN blocks b ON b.segment = s.id
    AND b.first_seq = (SELECT max(first_seq) FROM blocks WHERE segment = s.id)
WHERE b.first_seq > coalesce((SELECT max(first_seq) FROM changes WHERE segment = s.id), -1);
