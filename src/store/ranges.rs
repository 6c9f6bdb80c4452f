//! What a session reads of a store: what a peer lacks, and the runs that carry it there. And how the
//! whole of it is read where some of it is damaged.

use std::collections::{HashMap, HashSet};

use super::damage::Lost;
use super::{Reader, StoreError};
use crate::core::change::{Change, Damaged, Place, SignedRun, Travelling};
use crate::core::frame::{Heads, RUN_CHANGES, Wanted};
use crate::core::frontier::{self, Frontier, Head, Range};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::core::pruned::Pruned;
use crate::core::segment::Strand;
use crate::words::limits::PRUNED_CHAIN;
use crate::words::{NodeId, Offset, Seq};

/// About how many bytes of changes go into a frame. What has come of a frame is lost with the
/// connection, so on a bad link a smaller frame gets further.
pub const RUN_BYTES: usize = 128 << 10;

/// What a comparison with a peer's frontier found.
#[derive(Default)]
pub struct Comparison {
    /// What the peer lacks.
    pub missing: Vec<Range>,
    /// What stays of segments that it lacks and whose entries were removed here: of each author those
    /// that follow each other, and that it lacks first.
    pub pruned: Vec<Vec<Pruned>>,
    /// The authors of whom it has heads that lead to nothing held here.
    pub ahead: HashSet<NodeId>,
    /// The offset up to which that is said.
    pub watermark: Offset,
    /// What is held here.
    pub own: Frontier,
}

/// Compares a peer's frontier with the store.
///
/// # Errors
/// The store can't be read.
pub fn compare(reader: &mut dyn Reader, theirs: &Heads) -> Result<Comparison, StoreError> {
    let watermark = reader.watermark()?;
    let mut found = Comparison { watermark, ..Comparison::default() };
    let theirs: HashMap<&NodeId, &[Head]> =
        theirs.iter().rev().map(|(author, heads)| (author, heads.as_slice())).collect();
    let held = reader.frontier()?;
    for (author, own) in held.iter() {
        let said = theirs.get(author).copied().unwrap_or_default();
        let before = found.missing.len();
        if said != own && !compare_open_segment(reader, *author, (own, said), &mut found)? {
            compare_author(reader, *author, said, &mut found)?;
        }
        if found.missing.len() > before {
            let missing = found.missing.split_off(before);
            set_apart_pruned(reader, *author, missing, &mut found)?;
        }
    }
    Ok(Comparison { own: held, ..found })
}

/// The usual case: both have one head, in the segment that is still written. Returns whether it is.
fn compare_open_segment(
    reader: &mut dyn Reader,
    author: NodeId,
    (own, said): (&[Head], &[Head]),
    found: &mut Comparison,
) -> Result<bool, StoreError> {
    let ([own], [there]) = (own, said) else {
        return Ok(false);
    };
    if own.segment != there.segment {
        return Ok(false);
    }
    let Some(strand) = reader.locate(own)? else {
        return Ok(false);
    };
    if there.next_seq > own.next_seq {
        // The peer is further, and sends; unless it is so on another side.
        return Ok(reader.sides(author, own.segment)?.is_some_and(|sides| sides.count == 1));
    }
    let known = reader.locate(there)? == Some(strand);
    if known {
        found.missing.push(Range { author, strand, from: there.next_seq, to: own.next_seq });
    }
    Ok(known)
}

fn compare_author(
    reader: &mut dyn Reader,
    author: NodeId,
    said: &[Head],
    found: &mut Comparison,
) -> Result<(), StoreError> {
    let extents = reader.extents(author)?;
    let mut reached = Vec::new();
    for head in said {
        if let Some(strand) = reader.locate(head)? {
            reached.push((strand, head.next_seq));
            continue;
        }
        let reach = frontier::reach_of_unknown(&extents, head);
        if reach.is_none_or(|(_, seq)| seq == Seq(0)) {
            found.ahead.insert(author);
        }
        reached.extend(reach);
    }
    found.missing.extend(frontier::missing(author, &extents, &reached));
    Ok(())
}

/// Of what a peer lacks of an author, sets apart what was removed here. Behind that, it is sent no more
/// than the change that comes next: by that its author tells it that what was removed led up to there.
fn set_apart_pruned(
    reader: &mut dyn Reader,
    author: NodeId,
    missing: Vec<Range>,
    found: &mut Comparison,
) -> Result<(), StoreError> {
    if !any_pruned(reader, &missing)? {
        found.missing.extend(missing);
        return Ok(());
    }
    let pruned = reader.pruned(Some(author))?.into_iter();
    let mut pruned: HashMap<Strand, Pruned> = pruned.map(|gone| (gone.strand(), gone)).collect();
    let mut chain: Vec<Pruned> = Vec::new();
    for range in missing {
        let Some(gone) = pruned.remove(&range.strand) else {
            let to = if chain.is_empty() { range.to } else { range.from.plus(1) };
            found.missing.push(Range { to, ..range });
            if chain.is_empty() { continue } else { break }
        };
        let seqs = reader.gone_of(range.strand)?.unwrap_or(range.to..range.to);
        if range.from < seqs.start {
            found.missing.push(Range { to: seqs.start, ..range });
        }
        if range.from < seqs.end && chain.len() < PRUNED_CHAIN {
            chain.push(gone);
        }
        let from = range.from.max(seqs.end);
        if from < range.to {
            found.missing.push(Range { from, ..range });
        }
    }
    found.pruned.extend((!chain.is_empty()).then_some(chain));
    Ok(())
}

/// Whether something of what a peer lacks was removed here. Mostly it lacks what is newest.
fn any_pruned(reader: &mut dyn Reader, missing: &[Range]) -> Result<bool, StoreError> {
    for Range { author, strand, .. } in missing {
        if reader.sides(*author, strand.segment)?.is_some_and(|sides| sides.pruned.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where entries lie that a peer lost: on every side of their segment.
///
/// # Errors
/// The store can't be read.
pub fn wanted(reader: &mut dyn Reader, wanted: &[Wanted]) -> Result<Vec<Range>, StoreError> {
    let mut ranges = Vec::new();
    for Wanted { author, segment, from, to } in wanted {
        let sides = reader.sides(*author, *segment)?.map_or(0, |sides| sides.count);
        for side in 0..sides {
            let strand = Strand { segment: *segment, side };
            ranges.push(Range { author: *author, strand, from: *from, to: *to });
        }
    }
    Ok(ranges)
}

/// Whether all that these heads stand for is held.
///
/// # Errors
/// The store can't be read.
pub fn holds(reader: &mut dyn Reader, heads: &[Head]) -> Result<bool, StoreError> {
    for head in heads {
        if reader.locate(head)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads changes from the start of a range: the block that begins there as it is, or else a run that
/// ends in a signed change. None: the store
/// doesn't hold the range, or it is damaged there, which the reader has noted.
///
/// # Errors
/// The store can't be read.
pub fn fetch(reader: &mut dyn Reader, range: Range) -> Result<Option<Travelling>, StoreError> {
    if let Some(block) = reader.packed(range.strand, range.from)? {
        return Ok(Some(Travelling::Block(block)));
    }
    let mut arrivals: Vec<Arrival> = Vec::new();
    let (mut from, mut at_once) = (range.from, RUN_BYTES);
    loop {
        let more = match reader.of_strand(range.strand, from, Direction::Forward, at_once) {
            Err(StoreError::Lost(_)) if at_once > 1 => {
                at_once = 1; // what is damaged may come later, and what is before it is whole
                continue;
            }
            Err(StoreError::Lost(_)) => break,
            more => more?,
        };
        let Some(end) = more.last() else { break };
        from = end.change.next_seq();
        arrivals.extend(more);
        if signed_prefix(&arrivals, range.to) > 0 || arrivals.len() >= RUN_CHANGES {
            break;
        }
    }
    arrivals.truncate(signed_prefix(&arrivals, range.to).min(RUN_CHANGES));
    if let Some(last) = arrivals.last()
        && reader.check_signature(last).is_err()
    {
        return Ok(None);
    }
    let run = run_of(arrivals.into_iter().map(|arrival| arrival.change).collect())?;
    Ok(run.map(Travelling::Run))
}

/// The run of consecutive changes of one strand that carries a range as far as they go, and as far as
/// a frame goes. None where no change among them is signed.
pub fn run(mut arrivals: Vec<Arrival>, range: Range) -> Option<SignedRun> {
    arrivals.truncate(signed_prefix(&arrivals, range.to).min(RUN_CHANGES));
    run_of(arrivals.into_iter().map(|arrival| arrival.change).collect()).ok().flatten()
}

/// Some of the log in the order of arrival, and where to read on.
#[derive(Debug)]
pub struct Stretch {
    /// What could be read.
    pub arrivals: Vec<Arrival>,
    /// The offset after that, and after what is damaged; the one it was read from at the log's end.
    pub next: Offset,
    /// What is damaged, after the last of them.
    pub lost: Option<Lost>,
}

/// Reads changes in the order of arrival, up to what is damaged, which is stepped over.
///
/// # Errors
/// The store fails otherwise than by damage.
pub fn stretch(
    reader: &mut dyn Reader,
    from: Offset,
    max_bytes: usize,
) -> Result<Stretch, StoreError> {
    match reader.arrivals(from, Direction::Forward, max_bytes) {
        Err(StoreError::Lost(_)) => {}
        read => {
            let arrivals = read?;
            let next = arrivals.last().map_or(from, Arrival::end);
            return Ok(Stretch { arrivals, next, lost: None });
        }
    }
    let (mut arrivals, mut next) = (Vec::new(), from);
    loop {
        match reader.arrivals(next, Direction::Forward, 1) {
            Err(StoreError::Lost(lost)) => {
                // Of a block that came in pieces only the one that was come to is stepped over:
                // between them stands what others wrote.
                let next = reader.end_at(next)?;
                return Ok(Stretch { arrivals, next, lost: Some(lost) });
            }
            read => {
                let Some(arrival) = read?.into_iter().next() else {
                    return Ok(Stretch { arrivals, next, lost: None });
                };
                next = arrival.end();
                arrivals.push(arrival);
            }
        }
    }
}

/// How many of the changes are sent: up to the end of the range, and on to a signed one.
fn signed_prefix(arrivals: &[Arrival], to: Seq) -> usize {
    let signed = |at: &usize| arrivals[*at].change.signature.is_some();
    let inside = arrivals.iter().take_while(|arrival| arrival.change.first_seq < to).count();
    let last_inside = (0..inside).rev().find(signed);
    let at = last_inside.or_else(|| (inside..arrivals.len()).find(signed));
    at.map_or(0, |at| at + 1)
}

fn run_of(changes: Vec<Change>) -> Result<Option<SignedRun>, StoreError> {
    let (Some(first), Some(signature)) =
        (changes.first(), changes.last().and_then(|c| c.signature))
    else {
        return Ok(None);
    };
    let damaged = |e: Damaged| StoreError::Damaged(e.to_string());
    let place = Place {
        author: first.author,
        segment: first.segment,
        segment_seq: first.segment_seq,
        index: first.index,
        first_seq: first.first_seq,
        link: first.link().map_err(damaged)?,
    };
    let entries = |change: &Change| Ok(change.chunk().map_err(damaged)?.shared_entries());
    let changes = changes.iter().map(entries).collect::<Result<_, StoreError>>()?;
    Ok(Some(SignedRun { place, changes, signature }))
}
