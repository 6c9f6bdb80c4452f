//! Frames: all that one node can say to another, in deterministic CBOR.
//!
//! A frame is a CBOR array whose first item is its kind. `docs/protocol.md` draws every one.
//! Reading is strict: a frame that its own writer would have written otherwise is refused, so that
//! there is one spelling of everything, and what a stranger sends allocates no more than its own
//! length.

use bytes::Bytes;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

use super::change::{Link, Place, SignedBlock, SignedRun};
use super::frontier::Head;
use super::pruned::Pruned;
use super::segment::{Opening, Parent};
use crate::words::limits::{
    AUTHORS, BRANCHES, CHANGE_ENTRIES, PRUNED_CHAIN, SEGMENT_ENTRIES, SEGMENT_PARENTS,
};
use crate::words::{ChangeHash, ClusterId, NodeId, SegmentId, Seq, Signature, Time};

/// The version of the protocol that this code speaks.
pub const PROTOCOL: u64 = 1;
/// The longest name that a node may give itself, in bytes.
pub const NODE_NAME_BYTES: usize = 64;
/// How many changes a run may hold.
pub const RUN_CHANGES: usize = 8_192;

/// How many runs of entries may be asked for in one frame.
pub const WANTED: usize = 64;

/// Heads by author: a whole frontier, or the part of it that has just changed.
pub type Heads = Vec<(NodeId, Vec<Head>)>;

/// Entries of one segment that a node lost to its disk, named by seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who wrote them.
    pub author: NodeId,
    /// Their segment.
    pub segment: SegmentId,
    /// The first seq.
    pub from: Seq,
    /// The seq after the last one.
    pub to: Seq,
}

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Kind 0: the first frame in each direction.
    Hello {
        /// The version of the protocol.
        protocol: u64,
        /// The cluster that the speaker belongs to.
        cluster: ClusterId,
        /// Another number in each lifetime of the speaker.
        incarnation: u64,
        /// The name that people gave the speaker; may be empty.
        name: String,
    },
    /// Kind 1: all that the speaker holds, persisted.
    Frontier(Heads),
    /// Kind 2: the digest of the speaker's frontier.
    Digest([u8; 32]),
    /// Kind 3: heads that the speaker has persisted since it last said so.
    Ack(Heads),
    /// Kind 4: the nodes that the speaker is connected with, and needs no relay from.
    Links(Vec<NodeId>),
    /// Kind 5: consecutive changes of one segment.
    Run(Box<SignedRun>),
    /// Kind 7: consecutive changes of one segment, packed.
    Block(Box<SignedBlock>),
    /// Kind 6: what the speaker holds by its frontier, and can't read any more.
    Want(Vec<Wanted>),
    /// Kind 8: consecutive segments of one author whose entries the speaker has removed.
    Pruned(Vec<Pruned>),
    /// Kind 9: the authors that the speaker asks of others, and is not to be sent.
    Elsewhere(Vec<NodeId>),
}

/// Says that bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a frame: {0}")]
pub struct FrameError(String);

impl From<minicbor::decode::Error> for FrameError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self(error.to_string())
    }
}

fn wrong<T>(what: &str) -> Result<T, FrameError> {
    Err(FrameError(what.to_owned()))
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec can't fail.
        let written = self.write(&mut Encoder::new(&mut out));
        debug_assert!(written.is_ok());
        out
    }

    /// Reads a frame that a stranger sent.
    ///
    /// # Errors
    /// Bytes that [`Frame::encode`] would not have written, or counts over their bounds.
    pub fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        let mut input = Decoder::new(bytes);
        let items = array(&mut input, 10)?;
        let frame = match (input.u8()?, items) {
            (0, 5) => Self::Hello {
                protocol: input.u64()?,
                cluster: ClusterId(fixed(&mut input)?),
                incarnation: input.u64()?,
                name: short_text(&mut input)?,
            },
            (1, 2) => Self::Frontier(read_heads(&mut input)?),
            (2, 2) => Self::Digest(fixed(&mut input)?),
            (3, 2) => Self::Ack(read_heads(&mut input)?),
            (4, 2) => Self::Links(read_nodes(&mut input)?),
            (5, 9) => Self::Run(Box::new(read_run(&mut input, bytes)?)),
            (6, 2) => Self::Want(read_wanted(&mut input)?),
            (7, 9) => Self::Block(Box::new(read_block(&mut input, bytes)?)),
            (8, 4) => Self::Pruned(read_pruned(&mut input)?),
            (9, 2) => Self::Elsewhere(read_nodes(&mut input)?),
            (kind, items) => return wrong(&format!("kind {kind} with {items} items")),
        };
        if input.position() != bytes.len() {
            return wrong("trailing bytes");
        }
        if !frame.is_spelled(bytes) {
            return wrong("not in deterministic encoding");
        }
        Ok(frame)
    }

    /// Whether these are the bytes that [`Frame::encode`] makes; it takes no memory to say so.
    fn is_spelled(&self, bytes: &[u8]) -> bool {
        let mut rest = Rest(bytes);
        self.write(&mut Encoder::new(&mut rest)).is_ok() && rest.0.is_empty()
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Hello { protocol, cluster, incarnation, name } => e
                .array(5)?
                .u8(0)?
                .u64(*protocol)?
                .bytes(&cluster.0)?
                .u64(*incarnation)?
                .str(name)?
                .ok(),
            Self::Frontier(heads) => {
                e.array(2)?.u8(1)?;
                write_heads(e, heads)
            }
            Self::Digest(digest) => e.array(2)?.u8(2)?.bytes(digest)?.ok(),
            Self::Ack(heads) => {
                e.array(2)?.u8(3)?;
                write_heads(e, heads)
            }
            Self::Links(links) => write_nodes(e, 4, links),
            Self::Elsewhere(authors) => write_nodes(e, 9, authors),
            Self::Run(run) => write_run(e, run),
            Self::Block(block) => write_block(e, block),
            Self::Pruned(chain) => write_pruned(e, chain),
            Self::Want(wanted) => {
                e.array(2)?.u8(6)?.array(wanted.len() as u64)?;
                for Wanted { author, segment, from, to } in wanted {
                    e.array(4)?.bytes(&author.0)?.bytes(&segment.0)?.u64(from.0)?.u64(to.0)?;
                }
                Ok(())
            }
        }
    }
}

/// What is left of bytes that are to be written once more.
struct Rest<'b>(&'b [u8]);

/// Says that other bytes were written.
#[derive(Debug)]
struct Differs;

impl Write for Rest<'_> {
    type Error = Differs;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Differs> {
        self.0 = self.0.strip_prefix(written).ok_or(Differs)?;
        Ok(())
    }
}

fn write_heads<W: Write>(
    e: &mut Encoder<W>,
    heads: &Heads,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.array(heads.len() as u64)?;
    for (author, heads) in heads {
        e.array(2)?.bytes(&author.0)?.array(heads.len() as u64)?;
        for head in heads {
            e.array(3)?.bytes(&head.segment.0)?.u64(head.next_seq.0)?.bytes(&head.hash.0)?;
        }
    }
    Ok(())
}

fn read_heads(input: &mut Decoder<'_>) -> Result<Heads, FrameError> {
    let mut authors = Vec::new();
    for _ in 0..array(input, AUTHORS as u64)? {
        exactly(input, 2)?;
        let author = NodeId(fixed(input)?);
        let mut heads = Vec::new();
        for _ in 0..array(input, BRANCHES as u64)? {
            exactly(input, 3)?;
            let segment = SegmentId(fixed(input)?);
            let next_seq = Seq(input.u64()?);
            heads.push(Head { segment, next_seq, hash: ChangeHash(fixed(input)?) });
        }
        authors.push((author, heads));
    }
    Ok(authors)
}

fn write_nodes<W: Write>(
    e: &mut Encoder<W>,
    kind: u8,
    nodes: &[NodeId],
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.array(2)?.u8(kind)?.array(nodes.len() as u64)?;
    for node in nodes {
        e.bytes(&node.0)?;
    }
    Ok(())
}

fn read_nodes(input: &mut Decoder<'_>) -> Result<Vec<NodeId>, FrameError> {
    let count = array(input, AUTHORS as u64)?;
    (0..count).map(|_| Ok(NodeId(fixed(input)?))).collect()
}

fn read_wanted(input: &mut Decoder<'_>) -> Result<Vec<Wanted>, FrameError> {
    let mut wanted = Vec::new();
    for _ in 0..array(input, WANTED as u64)? {
        exactly(input, 4)?;
        let (author, segment) = (NodeId(fixed(input)?), SegmentId(fixed(input)?));
        wanted.push(Wanted { author, segment, from: Seq(input.u64()?), to: Seq(input.u64()?) });
    }
    Ok(wanted)
}

fn write_run<W: Write>(
    e: &mut Encoder<W>,
    run: &SignedRun,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.array(9)?.u8(5)?;
    write_place(e, &run.place)?;
    e.bytes(&run.signature.0)?.array(run.changes.len() as u64)?;
    for entries in &run.changes {
        e.array(entries.len() as u64)?;
        for entry in entries {
            e.bytes(entry)?;
        }
    }
    Ok(())
}

fn write_block<W: Write>(
    e: &mut Encoder<W>,
    block: &SignedBlock,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let entries = block.next_seq.0.wrapping_sub(block.place.first_seq.0);
    e.array(9)?.u8(7)?;
    write_place(e, &block.place)?;
    e.bytes(&block.signature.0)?.array(2)?.u64(entries)?.bytes(&block.record)?.ok()
}

fn read_block(input: &mut Decoder<'_>, frame: &Bytes) -> Result<SignedBlock, FrameError> {
    let place = read_place(input)?;
    let signature = Signature(fixed(input)?);
    exactly(input, 2)?;
    let entries = input.u64()?;
    let Some(next_seq) =
        place.first_seq.0.checked_add(entries).filter(|_| (1..=SEGMENT_ENTRIES).contains(&entries))
    else {
        return wrong("a block of more entries than a segment holds, or of none");
    };
    let record = frame.slice_ref(input.bytes()?);
    Ok(SignedBlock { place, next_seq: Seq(next_seq), signature, record })
}

fn write_pruned<W: Write>(
    e: &mut Encoder<W>,
    chain: &[Pruned],
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let (author, cluster) = chain.first().map_or((NodeId([0; 32]), ClusterId([0; 32])), |first| {
        (first.opening.author, first.opening.cluster)
    });
    e.array(4)?.u8(8)?.bytes(&author.0)?.bytes(&cluster.0)?.array(chain.len() as u64)?;
    for Pruned { opening, changes, next_seq, bytes, last_time, hash, signature } in chain {
        e.array(9)?.bytes(&opening.nonce)?.u64(opening.first_seq.0)?;
        write_parents(e, &opening.parents)?;
        e.u32(*changes)?.u64(next_seq.0)?.u64(*bytes)?.u64(last_time.bits())?;
        e.bytes(&hash.0)?.bytes(&signature.0)?;
    }
    Ok(())
}

fn read_pruned(input: &mut Decoder<'_>) -> Result<Vec<Pruned>, FrameError> {
    let (author, cluster) = (NodeId(fixed(input)?), ClusterId(fixed(input)?));
    let mut chain = Vec::new();
    for _ in 0..array(input, PRUNED_CHAIN as u64)? {
        exactly(input, 9)?;
        let nonce = fixed(input)?;
        let first_seq = Seq(input.u64()?);
        let parents = read_parents(input)?;
        let opening = Opening { cluster, author, first_seq, parents, nonce };
        let (changes, next_seq, bytes) = (input.u32()?, Seq(input.u64()?), input.u64()?);
        let Some(last_time) = Time::from_bits(input.u64()?) else {
            return wrong("a time beyond the last one");
        };
        let (hash, signature) = (ChangeHash(fixed(input)?), Signature(fixed(input)?));
        chain.push(Pruned { opening, changes, next_seq, bytes, last_time, hash, signature });
    }
    if chain.is_empty() { wrong("no pruned segment") } else { Ok(chain) }
}

fn write_parents<W: Write>(
    e: &mut Encoder<W>,
    parents: &[Parent],
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.array(parents.len() as u64)?;
    for parent in parents {
        e.array(2)?.u64(parent.next_seq.0)?.bytes(&parent.hash.0)?;
    }
    Ok(())
}

fn read_parents(input: &mut Decoder<'_>) -> Result<Vec<Parent>, FrameError> {
    let mut parents = Vec::new();
    for _ in 0..array(input, SEGMENT_PARENTS as u64)? {
        exactly(input, 2)?;
        let next_seq = Seq(input.u64()?);
        parents.push(Parent { next_seq, hash: ChangeHash(fixed(input)?) });
    }
    Ok(parents)
}

fn write_place<W: Write>(
    e: &mut Encoder<W>,
    place: &Place,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    let Place { author, segment, segment_seq, index, first_seq, link } = place;
    e.bytes(&author.0)?.bytes(&segment.0)?.u64(segment_seq.0)?.u32(*index)?.u64(first_seq.0)?;
    match link {
        Link::Previous(hash) => e.bytes(&hash.0)?.ok(),
        Link::Opening(Opening { cluster, parents, nonce, .. }) => {
            e.array(3)?.bytes(&cluster.0)?.bytes(nonce)?;
            write_parents(e, parents)
        }
    }
}

fn read_place(input: &mut Decoder<'_>) -> Result<Place, FrameError> {
    let author = NodeId(fixed(input)?);
    let segment = SegmentId(fixed(input)?);
    let segment_seq = Seq(input.u64()?);
    let index = input.u32()?;
    let first_seq = Seq(input.u64()?);
    let link = match input.datatype()? {
        minicbor::data::Type::Bytes => Link::Previous(ChangeHash(fixed(input)?)),
        _ => Link::Opening(read_opening(input, author, first_seq)?),
    };
    Ok(Place { author, segment, segment_seq, index, first_seq, link })
}

fn read_run(input: &mut Decoder<'_>, frame: &Bytes) -> Result<SignedRun, FrameError> {
    let place = read_place(input)?;
    let signature = Signature(fixed(input)?);
    let mut changes = Vec::new();
    // A run lies within one segment, so all its changes share the bound on a segment's entries.
    let mut room = SEGMENT_ENTRIES;
    for _ in 0..array(input, RUN_CHANGES as u64)? {
        let count = array(input, room.min(CHANGE_ENTRIES as u64))?;
        room -= count;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(frame.slice_ref(input.bytes()?));
        }
        changes.push(entries);
    }
    Ok(SignedRun { place, changes, signature })
}

fn read_opening(
    input: &mut Decoder<'_>,
    author: NodeId,
    first_seq: Seq,
) -> Result<Opening, FrameError> {
    exactly(input, 3)?;
    let cluster = ClusterId(fixed(input)?);
    let nonce = fixed(input)?;
    let parents = read_parents(input)?;
    Ok(Opening { cluster, author, first_seq, parents, nonce })
}

/// The length of an array of definite length within its bound.
fn array(input: &mut Decoder<'_>, most: u64) -> Result<u64, FrameError> {
    match input.array()? {
        Some(length) if length <= most => Ok(length),
        Some(length) => wrong(&format!("an array of {length} items where {most} are the most")),
        None => wrong("an array of indefinite length"),
    }
}

fn exactly(input: &mut Decoder<'_>, length: u64) -> Result<(), FrameError> {
    if array(input, length)? == length { Ok(()) } else { wrong("an array of another length") }
}

fn fixed<const N: usize>(input: &mut Decoder<'_>) -> Result<[u8; N], FrameError> {
    let bytes = input.bytes()?;
    bytes.try_into().or_else(|_| wrong(&format!("{} bytes where {N} belong", bytes.len())))
}

fn short_text(input: &mut Decoder<'_>) -> Result<String, FrameError> {
    let text = input.str()?;
    if text.len() > NODE_NAME_BYTES || text.contains(char::is_control) {
        return wrong("a name that is too long or holds control characters");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
