//! Blocks in SQLite: one row each, opened through a cache that all readers share.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::StoreError;
use super::super::block::input::{Input, number};
use super::super::block::{BlockOpener, Damaged, Stand, Unpacked, is_whole, link};
use super::super::damage::{Damages, Lost, Part};
use super::super::picked::{ByNames, Picked};
use super::{seq, time};
use crate::core::change::{Change, Link, Place, SignedBlock};
use crate::core::log::Arrival;
use crate::core::segment::Strand;
use crate::words::{ChangeHash, ClusterId, NodeId, Offset, SegmentId, Seq, Signature, Time};

/// What the blocks that all readers have opened may take together, and those that they have unpacked, in
/// bytes of each.
const CACHE_BYTES: u64 = 8 << 20; // full: what was not read lately is opened again
/// About how many blocks that is.
const CACHE_BLOCKS: usize = 256;
/// Which part of it is for blocks that were asked for again. What was opened last is mostly what is read
/// next, and a block is large: little room beside these would let it go at once.
const AGAIN: f64 = 0.5;

/// A block that was opened: its changes, in order of seq and of arrival.
pub(super) struct Opened {
    /// The row of its strand.
    pub strand: i64,
    pub arrivals: Vec<Arrival>,
    /// Of all its changes, and of those of the segment before it.
    pub so_far: u64,
    bytes: usize,
}

impl Opened {
    /// The bytes of the segment's changes up to this one of the block.
    pub fn so_far(&self, at: usize) -> u64 {
        let after = self.arrivals.iter().skip(at + 1);
        self.so_far - after.map(|arrival| arrival.change.bytes.len() as u64).sum::<u64>()
    }

    /// The change that holds this seq.
    pub fn at_seq(&self, seq: Seq) -> usize {
        self.arrivals.partition_point(|arrival| arrival.change.next_seq() <= seq)
    }

    /// The change that holds this offset, or the first one after it.
    pub fn at_offset(&self, offset: Offset) -> usize {
        self.arrivals.partition_point(|arrival| arrival.end() <= offset)
    }
}

/// What was read lately, by the row of its block.
#[derive(Clone)]
pub(super) struct BlockCache {
    opened: Arc<Cache<i64, Arc<Opened>, Bytes>>,
    unpacked: Arc<Cache<i64, Arc<Unpacked>, Bytes>>,
}

impl BlockCache {
    /// Forgets a block, which holds something else now.
    pub fn remove(&self, block: i64) {
        self.opened.remove(&block);
        self.unpacked.remove(&block);
    }
}

#[derive(Clone)]
pub(super) struct Bytes;

impl Weighter<i64, Arc<Opened>> for Bytes {
    fn weight(&self, _: &i64, opened: &Arc<Opened>) -> u64 {
        opened.bytes as u64 + 256
    }
}

impl Weighter<i64, Arc<Unpacked>> for Bytes {
    fn weight(&self, _: &i64, unpacked: &Arc<Unpacked>) -> u64 {
        unpacked.size() as u64 + 256
    }
}

pub(super) fn cache() -> BlockCache {
    BlockCache { opened: part_of_cache(), unpacked: part_of_cache() }
}

fn part_of_cache<T: Clone>() -> Arc<Cache<i64, T, Bytes>>
where
    Bytes: Weighter<i64, T>,
{
    let options = OptionsBuilder::new()
        .estimated_items_capacity(CACHE_BLOCKS)
        .weight_capacity(CACHE_BYTES)
        .hot_allocation(AGAIN)
        .shards(1) // an opened block is a large part of any shard
        .build();
    let hasher = quick_cache::DefaultHashBuilder::default();
    let lifecycle = quick_cache::sync::DefaultLifecycle::default();
    Arc::new(match options {
        Ok(options) => Cache::with_options(options, Bytes, hasher, lifecycle),
        Err(_) => Cache::with_weighter(CACHE_BLOCKS, CACHE_BYTES, Bytes),
    })
}

/// Opens blocks for one connection.
pub(super) struct Blocks {
    opener: BlockOpener,
    cache: BlockCache,
    damages: Damages,
}

const BLOCK: &str =
    "SELECT a.node, s.name, s.side, s.first_seq, s.opening, b.first_seq, b.next_seq,
    b.position, b.hash, b.signature, b.so_far, b.arrivals, b.record, b.first_time, b.last_time,
    s.id, b.changes FROM blocks b JOIN segments s ON s.id = b.segment JOIN authors a ON a.id = s.author
    WHERE b.id = ?1";

impl Blocks {
    pub fn new(cache: BlockCache, damages: Damages) -> Result<Self, StoreError> {
        let opener = BlockOpener::new().map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(Self { opener, cache, damages })
    }

    /// The block of a row.
    ///
    /// # Errors
    /// [`StoreError::Lost`], which is noted, when it is not what was sealed.
    pub fn open(&mut self, connection: &Connection, id: i64) -> Result<Arc<Opened>, StoreError> {
        if let Some(opened) = self.cache.opened.get(&id) {
            return Ok(opened);
        }
        let mut query = connection.prepare_cached(BLOCK)?;
        let opener = &mut self.opener;
        let opened = query.query_row([id], |row| open(row, opener))?;
        let opened = Arc::new(opened.map_err(|lost| {
            self.damages.note(lost);
            StoreError::Lost(lost)
        })?);
        self.cache.opened.insert(id, opened.clone());
        Ok(opened)
    }
}

impl Blocks {
    /// Entries of a block that is one change, without building it again, with the row of its strand. None
    /// where it is open already, is several changes, whose hashes come of building them, or few were asked
    /// for and are many.
    ///
    /// # Errors
    /// [`StoreError::Lost`], which is noted, when it is not what was sealed.
    pub fn pick(
        &mut self,
        connection: &Connection,
        id: i64,
        asked: Asked<'_>,
    ) -> Result<Option<(i64, Picked)>, StoreError> {
        if self.cache.opened.peek(&id).is_some() {
            return Ok(None);
        }
        let kept = match asked {
            Asked::Few(_) => None,
            Asked::All | Asked::FewOrAll(_) => self.cache.unpacked.get(&id),
        };
        let mut query = connection.prepare_cached(BLOCK)?;
        let (opener, cache) = (&mut self.opener, &self.cache);
        let picked = query.query_row([id], |row| {
            if row.get::<_, i64>(16)? != 1 {
                return Ok(Ok(None));
            }
            let (stand, side) = stand(row)?;
            let all = stand.next_seq.0.saturating_sub(stand.first_seq.0);
            let mut pieces = Pieces::read(row.get_ref(11)?.as_blob()?);
            let piece = pieces.next().filter(|piece| piece.count == all);
            let lost = lost_of(&stand, side, piece.map_or(Offset(0), |piece| piece.offset));
            let (Some(piece), None) = (piece, pieces.next()) else { return Ok(Err(lost)) };
            let record = row.get_ref(12)?.as_blob()?;
            let times = (time(row.get(13)?), time(row.get(14)?));
            let entries = match kept {
                Some(unpacked) => Ok(Some(unpacked)),
                None => asked.read(opener, (record, &stand), times).inspect(|read| {
                    if let Some(all) = read.as_ref().filter(|read| read.len() as u64 == all) {
                        cache.unpacked.insert(id, all.clone());
                    }
                }),
            };
            let strand: i64 = row.get(15)?;
            let picked = |entries| Picked {
                author: stand.author,
                strand: Strand { segment: stand.segment, side },
                segment_seq: stand.segment_seq,
                seqs: stand.first_seq..stand.next_seq,
                offset: piece.offset,
                skew: piece.skew,
                change: stand.last,
                entries,
            };
            Ok(entries
                .map_err(|Damaged| lost)
                .map(|entries| entries.map(|entries| (strand, picked(entries)))))
        })?;
        picked.map_err(|lost| {
            self.damages.note(lost);
            StoreError::Lost(lost)
        })
    }

    /// The kinds of the entries of a block, without opening it. None when it is not what was sealed.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn kinds(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut query = connection.prepare_cached(BLOCK)?;
        let opener = &mut self.opener;
        Ok(query.query_row([id], |row| {
            let (stand, _) = stand(row)?;
            Ok(opener.kinds(row.get_ref(12)?.as_blob()?, &stand))
        })?)
    }
}

/// The seqs of the few entries that are wanted, and whether tenant and topic of one are.
type Few<'a> = (&'a Range<Seq>, ByNames<'a>);

/// Which entries of a block are asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    All,
    /// These, and nothing where they are many.
    Few(Few<'a>),
    /// These, and where they are many, all.
    FewOrAll(Few<'a>),
}

impl Asked<'_> {
    /// Reads them from a record whose first and last entry have these times.
    fn read(
        self,
        opener: &mut BlockOpener,
        (record, stand): (&[u8], &Stand<'_>),
        times: (Time, Time),
    ) -> Result<Option<Arc<Unpacked>>, Damaged> {
        if let Self::Few((seqs, wanted)) | Self::FewOrAll((seqs, wanted)) = self
            && let Some(few) = opener.pick(record, stand, seqs, wanted)?
        {
            return Ok(Some(Arc::new(few)));
        }
        if matches!(self, Self::Few(_)) {
            return Ok(None);
        }
        let unpacked = opener.unpack_entries(record, stand)?;
        let whole = unpacked.times() == Some(times);
        if whole { Ok(Some(Arc::new(unpacked))) } else { Err(Damaged) }
    }
}

/// Where the block of a row stands, and which side of its segment it is on.
fn stand<'r>(row: &'r Row<'_>) -> rusqlite::Result<(Stand<'r>, u32)> {
    let stand = Stand {
        author: NodeId(row.get(0)?),
        segment: SegmentId(row.get(1)?),
        segment_seq: seq(row.get(3)?),
        index: row.get(7)?,
        first_seq: seq(row.get(5)?),
        opening: row.get_ref(4)?.as_str()?,
        next_seq: seq(row.get(6)?),
        last: ChangeHash(row.get(8)?),
    };
    Ok((stand, row.get(2)?))
}

fn open(row: &Row<'_>, opener: &mut BlockOpener) -> rusqlite::Result<Result<Opened, Lost>> {
    let (stand, side) = stand(row)?;
    let pieces = row.get_ref(11)?.as_blob()?;
    let offset = Pieces::read(pieces).next().map_or(Offset(0), |piece| piece.offset);
    let lost = lost_of(&stand, side, offset);
    let opened = opener.open(row.get_ref(12)?.as_blob()?, &stand);
    let times = (time(row.get(13)?), time(row.get(14)?));
    let opened = opened.and_then(|mut changes| {
        let signed = changes.last_mut().ok_or(Damaged)?;
        signed.signature = Some(Signature(row.get(9).map_err(|_| Damaged)?));
        let said = (changes.first().map(|c| c.first_time), changes.last().map(|c| c.last_time));
        let whole = said == (Some(times.0), Some(times.1));
        if whole { place(changes, side, pieces) } else { Err(Damaged) }
    });
    let (so_far, strand) = (row.get::<_, i64>(10)? as u64, row.get(15)?);
    Ok(opened.map_err(|Damaged| lost).map(|arrivals| {
        let bytes = arrivals.iter().map(|arrival| arrival.change.bytes.len()).sum();
        Opened { strand, arrivals, so_far, bytes }
    }))
}

/// What is lost when the block of a row is not what was sealed.
fn lost_of(stand: &Stand<'_>, side: u32, offset: Offset) -> Lost {
    let Stand { author, segment, first_seq, next_seq, .. } = *stand;
    let strand = Strand { segment, side };
    Lost { author, strand, first_seq, next_seq, offset, part: Part::Content }
}

/// The block of a row as it is kept, for a peer; none when it is not as it was sealed.
///
/// # Errors
/// The store can't be read.
fn packed(
    connection: &Connection,
    (cluster, damages): (ClusterId, &Damages),
    id: i64,
) -> Result<Option<SignedBlock>, StoreError> {
    let mut query = connection.prepare_cached(BLOCK)?;
    let (block, last, text, lost) = query.query_row([id], |row| {
        let place = Place {
            author: NodeId(row.get(0)?),
            segment: SegmentId(row.get(1)?),
            segment_seq: seq(row.get(3)?),
            index: row.get(7)?,
            first_seq: seq(row.get(5)?),
            link: Link::Previous(ChangeHash([0; 32])),
        };
        let (signature, record) = (Signature(row.get(9)?), row.get::<_, Vec<u8>>(12)?.into());
        let block = SignedBlock { place, next_seq: seq(row.get(6)?), signature, record };
        let pieces: Vec<u8> = row.get(11)?;
        let lost = Lost {
            author: block.place.author,
            strand: Strand { segment: block.place.segment, side: row.get(2)? },
            first_seq: block.place.first_seq,
            next_seq: block.next_seq,
            offset: Pieces::read(&pieces).next().map_or(Offset(0), |piece| piece.offset),
            part: Part::Signature,
        };
        Ok((block, ChangeHash(row.get(8)?), row.get::<_, String>(4)?, lost))
    })?;
    let Place { author, segment, segment_seq, index, first_seq, .. } = block.place;
    let next_seq = block.next_seq;
    let stand =
        Stand { author, segment, segment_seq, index, first_seq, opening: &text, next_seq, last };
    if !is_whole(&block.record, &stand) {
        return Ok(None);
    }
    if damages.is_aged(lost.offset) && !author.verify(cluster, last, &block.signature) {
        damages.note(lost);
        return Ok(None);
    }
    let Some(link) = link(&block.record, &text) else { return Ok(None) };
    Ok(Some(SignedBlock { place: Place { link, ..block.place }, ..block }))
}

/// Gives each change its place in the order of arrival.
fn place(changes: Vec<Change>, side: u32, pieces: &[u8]) -> Result<Vec<Arrival>, Damaged> {
    let mut pieces = Pieces::read(pieces);
    let mut piece = pieces.next().ok_or(Damaged)?;
    let mut arrivals = Vec::with_capacity(changes.len());
    for change in changes {
        if piece.count == 0 {
            piece = pieces.next().ok_or(Damaged)?;
        }
        let count = u64::from(change.count);
        let (offset, skew) = (piece.offset, piece.skew);
        piece.count = piece.count.checked_sub(count).ok_or(Damaged)?;
        piece.offset = offset.plus(count);
        arrivals.push(Arrival { offset, skew, side, change });
    }
    let all = piece.count == 0 && pieces.next().is_none();
    if all { Ok(arrivals) } else { Err(Damaged) }
}

/// Entries of a block that follow each other in the order of arrival, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub offset: Offset,
    pub count: u64,
    /// Whether the times of its changes were far ahead.
    pub skew: bool,
}

/// The pieces of a block, read from their column: for each, how far it begins after the end of the
/// one before, and twice its count, plus one for skew; as LEB128 numbers.
pub(super) struct Pieces<'a> {
    input: Input<'a>,
    end: u64,
}

impl<'a> Pieces<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        Self { input: Input { bytes }, end: 0 }
    }

    /// The pieces that changes fall into, in order: their offsets, counts and skew.
    pub fn of(changes: impl Iterator<Item = (Offset, u64, bool)>) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (offset, count, skew) in changes {
            match pieces.last_mut() {
                Some(last) if last.skew == skew && last.offset.plus(last.count) == offset => {
                    last.count += count;
                }
                _ => pieces.push(Piece { offset, count, skew }),
            }
        }
        pieces
    }

    /// The column that says these.
    pub fn write(pieces: &[Piece]) -> Vec<u8> {
        let (mut out, mut end) = (Vec::new(), 0);
        for piece in pieces {
            number(&mut out, piece.offset.0 - end);
            number(&mut out, piece.count << 1 | u64::from(piece.skew));
            end = piece.offset.0 + piece.count;
        }
        out
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let offset = self.end.checked_add(self.input.number()?)?;
        let said = self.input.number()?;
        self.end = offset.checked_add(said >> 1)?;
        Some(Piece { offset: Offset(offset), count: said >> 1, skew: said & 1 == 1 })
    }
}

/// Which block holds an offset, and from where to where it holds what follows it.
pub(super) fn at_offset(
    connection: &Connection,
    offset: Offset,
) -> Result<Option<(i64, Offset)>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT block, offset + count FROM pieces WHERE offset <= ?1 ORDER BY offset DESC LIMIT 1",
    )?;
    let found = query.query_row([column(offset.0)], |row| {
        Ok((row.get::<_, i64>(0)?, Offset(row.get::<_, i64>(1)? as u64)))
    });
    Ok(found.optional()?.filter(|(_, end)| *end > offset))
}

/// Which block of a strand, by its row, holds a seq.
pub(super) fn at_seq(
    connection: &Connection,
    strand: i64,
    seq: Seq,
) -> Result<Option<i64>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, next_seq FROM blocks WHERE segment = ?1 AND first_seq <= ?2
         ORDER BY first_seq DESC LIMIT 1",
    )?;
    let found = query.query_row(params![strand, column(seq.0)], |row| {
        Ok((row.get::<_, i64>(0)?, super::seq(row.get(1)?)))
    });
    Ok(found.optional()?.filter(|(_, next)| *next > seq).map(|(id, _)| id))
}

/// The block of a strand, by its row, that begins at a seq, for a peer.
///
/// # Errors
/// The store can't be read.
pub(super) fn beginning_at(
    connection: &Connection,
    trust: (ClusterId, &Damages),
    strand: i64,
    seq: Seq,
) -> Result<Option<SignedBlock>, StoreError> {
    let query = "SELECT id FROM blocks WHERE segment = ?1 AND first_seq = ?2";
    let mut query = connection.prepare_cached(query)?;
    let found = query.query_row(params![strand, column(seq.0)], |row| row.get(0)).optional()?;
    found.map_or(Ok(None), |id| packed(connection, trust, id))
}

/// A block as it is written.
pub(super) struct New<'a> {
    pub strand: i64,
    pub first_seq: Seq,
    pub next_seq: Seq,
    pub position: u32,
    pub changes: usize,
    pub times: (Time, Time),
    pub hash: ChangeHash,
    /// A block ends in a signed change.
    pub signature: Option<Signature>,
    pub so_far: u64,
    pub pieces: &'a [Piece],
    pub record: &'a [u8],
}

/// The number of the newest block's row that this process has written or found. A block that was
/// removed may be the newest, and readers may have it open: its number isn't given to another.
pub(super) struct NewestBlock(i64);

impl NewestBlock {
    pub fn of(connection: &Connection) -> Result<Self, StoreError> {
        let newest = "SELECT coalesce(max(id), 0) FROM blocks";
        Ok(Self(connection.query_row(newest, [], |row| row.get(0))?))
    }

    fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

impl New<'_> {
    pub fn insert(
        &self,
        connection: &Connection,
        newest: &mut NewestBlock,
    ) -> Result<(), StoreError> {
        let block = newest.next();
        connection
            .prepare_cached(
                "INSERT INTO blocks (segment, first_seq, next_seq, position, changes, first_time,
                    last_time, hash, signature, so_far, arrivals, record, id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                self.strand,
                self.first_seq.0 as i64,
                self.next_seq.0 as i64,
                self.position,
                self.changes as i64,
                self.times.0.bits() as i64,
                self.times.1.bits() as i64,
                self.hash.0,
                self.signature.map(|signature| signature.0),
                self.so_far as i64,
                Pieces::write(self.pieces),
                self.record,
                block,
            ])?;
        let mut piece = connection
            .prepare_cached("INSERT INTO pieces (offset, count, block) VALUES (?1, ?2, ?3)")?;
        for Piece { offset, count, .. } in self.pieces {
            piece.execute(params![offset.0 as i64, *count as i64, block])?;
        }
        Ok(())
    }
}

/// The largest number below 2^63, so that a number of a caller fits a column.
pub(super) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
