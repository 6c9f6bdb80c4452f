//! What a node says of itself and of its peers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Node;
use super::roster::{Contact, Peer};
use crate::core::frontier::Frontier;
use crate::core::sharing::Progress;
use crate::store::tip::Missing;
use crate::store::{EmitMark, StoreError};
use crate::words::{ClusterId, NodeId};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It writes, and all peers that were named are connected.
    Ok,
    /// It writes; some peer is not connected, or the store has lost entries that are not back.
    Degraded,
    /// The disk is full: it only reads and sends, until there is room.
    #[serde(rename = "read-only")]
    ReadOnly,
    /// A commit failed: it writes no more until it is restarted.
    Poisoned,
}

/// How many peers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Peers {
    /// Named at the start.
    pub configured: usize,
    /// With a session.
    pub connected: usize,
    /// Banned for violations.
    pub banned: usize,
}

/// What a node says of itself; the JSON of `/v1/status`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its id.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The version of towline.
    pub version: &'static str,
    /// How it is.
    pub state: State,
    /// Why it doesn't write, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How many entries its log holds.
    pub entries: u64,
    /// How many entries it held once and has removed.
    pub removed: u64,
    /// Of how many authors.
    pub authors: usize,
    /// The offset that the next entry takes.
    pub offset: u64,
    /// The digest of its frontier: equal on nodes that hold the same entries.
    pub frontier: String,
    /// How many events were emitted, in all lifetimes.
    pub emitted: u64,
    /// How many of them were recorded.
    pub recorded: u64,
    /// How many of them were dropped, by the gaps.
    pub dropped: u64,
    /// How many gaps were written.
    pub gaps: u64,
    /// How many changes wait for a parent.
    pub pending: i64,
    /// How many changes on disk are damaged, and are asked for of the peers.
    pub damaged: usize,
    /// What the store lost and asks its peers for, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// How it comes closer to what its peers hold, while something of it is lacking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catching_up: Option<Progress>,
    /// The authors that ever branched: a disk was restored, a key copied, or a history forged.
    pub branched: usize,
    /// Its peers.
    pub peers: Peers,
    /// Bytes on disk, everything counted.
    pub bytes: u64,
    /// When this lifetime began, RFC 3339.
    pub started: String,
}

/// What a node knows of a node; an element of `/v1/nodes`.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its id.
    pub node: NodeId,
    /// Its name for people; may be empty.
    pub name: String,
    /// Whether it is the node that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// `self`, `connected`, `connecting` or `unreachable`.
    pub state: &'static str,
    /// Where it listens for peers, or is dialed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many of its own entries are held here.
    pub authored: u64,
    /// How far it has persisted each author, by its own word.
    pub holds: BTreeMap<NodeId, u64>,
    /// How many entries that are held here it hasn't acknowledged.
    pub lag: u64,
    /// How far its newest entry lies ahead of this node's clock, in seconds, if over a minute.
    pub skew_seconds: u64,
    /// For how many seconds more it is banned, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banned_seconds: Option<u64>,
    /// When it was last heard, RFC 3339.
    pub last_seen: Option<String>,
    /// Why it isn't connected, if it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a node holds of every author; the JSON of `/v1/frontier`, byte for byte the same on every
/// node that holds the same entries.
#[derive(Clone, Debug, Serialize)]
pub struct FrontierReport {
    /// `authors`: the heads held, by author.
    #[serde(flatten)]
    pub frontier: Frontier,
    /// 64 hex digits that are equal exactly when the frontiers are.
    pub digest: String,
}

impl Node {
    /// What the node holds of every author.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn frontier(&self) -> Result<FrontierReport, StoreError> {
        let frontier = self.read(|reader| reader.frontier()).await?;
        let digest = hex::encode(frontier.digest());
        Ok(FrontierReport { frontier, digest })
    }

    /// Why the node writes no more, if a commit failed.
    pub fn poison(&self) -> Option<&str> {
        self.inner.writer.poison()
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let inner = &self.inner;
        let (frontier, emits, branched, bytes) = self
            .read(|reader| {
                let (emits, branched) = (reader.emits()?, reader.branched()?.len());
                let ends = (emits, reader.watermark()?, reader.gone()?.entries);
                Ok((reader.frontier()?, ends, branched, reader.bytes()?))
            })
            .await?;
        let (EmitMark { recorded, dropped, gaps, .. }, offset, removed) = emits;
        let connected = inner.roster.connected().len();
        let degraded = connected < inner.named_peers;
        let missing = inner.shortage.missing();
        let (state, trouble) = match (inner.writer.poison(), inner.writer.full()) {
            (Some(why), _) => (State::Poisoned, Some(why.to_owned())),
            (None, Some(why)) => (State::ReadOnly, Some(format!("the disk is full: {why}"))),
            (None, None) if missing.is_some() => {
                let trouble = missing.map(|missing| format!("{missing}; peers are asked for them"));
                (State::Degraded, trouble)
            }
            (None, None) if degraded => (State::Degraded, None),
            (None, None) => (State::Ok, None),
        };
        Ok(Status {
            node: inner.id,
            name: inner.name.clone(),
            cluster: inner.cluster,
            version: env!("CARGO_PKG_VERSION"),
            state,
            trouble,
            entries: offset.0.saturating_sub(removed),
            removed,
            authors: frontier.len(),
            offset: offset.0,
            frontier: hex::encode(frontier.digest()),
            emitted: inner.emitter.emitted().0,
            recorded,
            dropped,
            gaps,
            pending: inner.metrics.pending.get(),
            damaged: inner.damages.all().len(),
            missing,
            catching_up: inner.roster.look(&frontier),
            branched,
            peers: Peers { configured: inner.named_peers, connected, banned: inner.door.banned() },
            bytes,
            started: inner.started.to_string(),
        })
    }

    /// What the node knows of every node: itself first, then its peers, then authors that it knows
    /// only by their entries.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn nodes(&self) -> Result<Vec<NodeReport>, StoreError> {
        let (frontier, spans) =
            self.read(|reader| Ok((reader.frontier()?, newest(reader)?))).await?;
        let now = super::wall_millis();
        let skew = |node: &NodeId| {
            let ahead = spans.get(node).map_or(0, |newest| newest.saturating_sub(now));
            if ahead > crate::words::limits::SKEW_MILLIS { ahead / 1_000 } else { 0 }
        };
        let peers = self.inner.roster.peers();
        let mut reports = vec![self.own_report(&frontier)];
        for (node, peer) in &peers {
            let banned_seconds = self.inner.door.ban_left(node).map(|left| left.as_secs());
            let report = report(*node, peer, &frontier);
            reports.push(NodeReport { skew_seconds: skew(node), banned_seconds, ..report });
        }
        let known = |node: &NodeId| *node == self.id() || peers.contains_key(node);
        for (author, _) in frontier.iter().filter(|(author, _)| !known(author)) {
            let peer = Peer { contact: Contact::Unreachable, ..Peer::default() };
            let stranger = report(*author, &peer, &frontier);
            reports.push(NodeReport { skew_seconds: skew(author), lag: 0, ..stranger });
        }
        Ok(reports)
    }

    fn own_report(&self, frontier: &Frontier) -> NodeReport {
        NodeReport {
            node: self.id(),
            name: self.inner.name.clone(),
            is_self: true,
            state: "self",
            address: self.address().map(|address| address.to_string()),
            authored: frontier.next_seq(&self.id()).0,
            holds: frontier.iter().map(|(node, _)| (*node, frontier.next_seq(node).0)).collect(),
            lag: 0,
            skew_seconds: 0,
            banned_seconds: None,
            last_seen: Some(crate::words::Time::from_millis(super::wall_millis()).to_string()),
            trouble: None,
        }
    }
}

/// The newest time of each author, in milliseconds.
fn newest(reader: &mut dyn crate::store::Reader) -> Result<BTreeMap<NodeId, u64>, StoreError> {
    let mut newest = BTreeMap::new();
    for span in reader.spans(None)? {
        let millis = newest.entry(span.author).or_default();
        *millis = span.last_time.millis().max(*millis);
    }
    Ok(newest)
}

fn report(node: NodeId, peer: &Peer, frontier: &Frontier) -> NodeReport {
    let behind = |author: &NodeId| {
        let held = peer.holds.get(author).copied().unwrap_or_default();
        frontier.next_seq(author).0.saturating_sub(held.0)
    };
    NodeReport {
        node,
        name: peer.name.clone(),
        is_self: false,
        state: match peer.contact {
            Contact::Connected => "connected",
            Contact::Connecting => "connecting",
            Contact::Unreachable => "unreachable",
        },
        address: peer.address.map(|address| address.to_string()),
        authored: frontier.next_seq(&node).0,
        holds: peer.holds.iter().map(|(author, seq)| (*author, seq.0)).collect(),
        lag: frontier.iter().map(|(author, _)| behind(author)).fold(0, u64::saturating_add),
        skew_seconds: 0,
        banned_seconds: None,
        last_seen: peer.last_seen.map(|time| time.to_string()),
        trouble: peer.trouble.clone().filter(|_| peer.contact != Contact::Connected),
    }
}
