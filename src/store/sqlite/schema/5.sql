-- Version 5: segments whose entries were removed, and what stays of them.
CREATE TABLE pruned (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    segment   INTEGER NOT NULL UNIQUE REFERENCES segments (id),
    changes   INTEGER NOT NULL CHECK (changes > 0),
    next_seq  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;

-- Where in the order of arrival entries were that were removed; ranges that touch are one.
CREATE TABLE holes (
    offset INTEGER PRIMARY KEY,
    count  INTEGER NOT NULL CHECK (count > 0)
) STRICT;

-- How far the log had got when the node had run for so long, in milliseconds of all lifetimes.
CREATE TABLE marks (
    running INTEGER PRIMARY KEY,
    offset  INTEGER NOT NULL
) STRICT;

-- What can be read of each strand is what `held` said so far, ...
DROP VIEW held;
CREATE VIEW kept AS
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

-- ... and what is accounted for is that, or what stays of what was removed, whichever reaches further.
CREATE VIEW held AS
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, c.first_seq + c.count AS next_seq, c.position + 1 AS changes, c.so_far AS bytes,
    c.last_time, c.hash AS head
FROM segments s JOIN changes c ON c.segment = s.id
    AND c.first_seq = (SELECT max(first_seq) FROM changes WHERE segment = s.id)
WHERE c.first_seq > coalesce((SELECT max(first_seq) FROM blocks WHERE segment = s.id), -1)
    AND NOT EXISTS (SELECT 1 FROM pruned WHERE segment = s.id AND next_seq > c.first_seq)
UNION ALL
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, b.next_seq, b.position + b.changes, b.so_far, b.last_time, b.hash
FROM segments s JOIN blocks b ON b.segment = s.id
    AND b.first_seq = (SELECT max(first_seq) FROM blocks WHERE segment = s.id)
WHERE b.first_seq > coalesce((SELECT max(first_seq) FROM changes WHERE segment = s.id), -1)
    AND NOT EXISTS (SELECT 1 FROM pruned WHERE segment = s.id AND next_seq > b.first_seq)
UNION ALL
SELECT s.id, s.name, s.side, s.author, s.opening, s.first_seq, s.start, s.start_time, s.forks_off,
    s.tip, p.next_seq, p.changes, p.bytes, p.last_time, p.hash
FROM segments s CROSS JOIN pruned p ON p.segment = s.id
WHERE NOT EXISTS (SELECT 1 FROM changes WHERE segment = s.id AND first_seq >= p.next_seq)
    AND NOT EXISTS (SELECT 1 FROM blocks WHERE segment = s.id AND first_seq >= p.next_seq);
