//! Every bound on what an entry, a change, a segment and a frame may hold.
//!
//! A bound that peers must agree on is part of the protocol (`docs/protocol.md`): a change that
//! exceeds it is refused by every node alike.

/// The largest payload of one entry, in bytes.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// The largest payload of one emitted event, in bytes: the ring holds [`EMIT_RING`] of them.
pub const EMIT_PAYLOAD_BYTES: usize = 64 << 10;
/// How many attributes one entry may carry.
pub const ATTRIBUTES: usize = 64;
/// The longest attribute key, in bytes.
pub const ATTRIBUTE_KEY_BYTES: usize = 64;
/// The longest attribute value, in bytes.
pub const ATTRIBUTE_VALUE_BYTES: usize = 4 << 10;
/// The longest tenant name, in bytes.
pub const TENANT_BYTES: usize = 64;
/// The longest topic name, in bytes.
pub const TOPIC_BYTES: usize = 256;
/// The longest kind, in bytes.
pub const KIND_BYTES: usize = 128;
/// The longest content type, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 128;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// How many entries one change may hold.
pub const CHANGE_ENTRIES: usize = 4_096;
/// How many pruned segments of one author a peer is told of at once. A node that lacks more of them than
/// that begins with a copy of another node's log.
pub const PRUNED_CHAIN: usize = 8_192;
/// How many bytes of encoded entries one change may hold. It is half of [`FRAME_BYTES`], so that any
/// change fits into a frame even where it doesn't compress; the largest entry fits, too.
pub const CHANGE_BYTES: usize = 2 << 20;
/// How many entries one segment may hold.
pub const SEGMENT_ENTRIES: u64 = 8_192;
/// How many bytes of changes one segment may hold before the next change opens a new one.
pub const SEGMENT_BYTES: u64 = 8 << 20;
/// How many parents a segment may name: the branches that it joins.
pub const SEGMENT_PARENTS: usize = 16;

/// How many authors a node keeps; the members of a cluster are not more.
pub const AUTHORS: usize = 10_000;
/// How many branches one author may have grown before further ones are refused.
pub const BRANCHES: usize = 64;

/// The largest frame on the wire, in bytes, as it travels.
pub const FRAME_BYTES: usize = 4 << 20;
/// The largest frame after decompression, in bytes.
pub const FRAME_BYTES_UNPACKED: usize = 16 << 20;

/// The default size of the emit ring, in events. The channel rounds it up to a power of two.
pub const EMIT_RING: usize = 4_096;
/// A remote time further ahead of the local clock than this, in milliseconds, is marked as skew.
pub const SKEW_MILLIS: u64 = 60_000;
