//! The words of towline: the newtypes that everything else is said in.
//!
//! A value of one of these types has been parsed once, at the edge, and nothing below checks it
//! again. Invariant: this layer does no IO and knows no other layer.

pub mod cloudevents;
pub mod code;
pub mod entry;
pub mod gap;
pub mod id;
pub mod identity;
pub mod json;
pub mod limits;
pub mod name;
pub mod planted;
pub mod time;

pub use code::Code;
pub use entry::{Draft, DraftError, Entry};
pub use gap::{Gap, GapReason};
pub use id::{
    ChangeHash, ClusterId, EmitNumber, EntryId, NodeId, Offset, ParseIdError, SegmentId, Seq,
};
pub use identity::{Identity, Signature};
pub use name::{Kind, NameError, Tenant, Topic};
pub use time::Time;
