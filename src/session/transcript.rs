//! Transcripts: what was said in a session, in order; and where two writers went on from one place,
//! both of what they said.
//!
//! A transcript is the topic `transcript/T`. Its first entry, of kind `towline.transcript`, says to
//! which session it belongs and what it came from. Every other entry follows one: the entry that
//! its attribute `towline.after` names, and without that attribute the one before it of its author.
//! So entries form a tree, and writers that extend the same entry don't overwrite each other: the
//! transcript has a *fork* there. The line of a transcript takes the child that is first in merged
//! order wherever it forks, so all nodes that hold the same entries read the same line; every other
//! branch is read by naming an entry of it. An entry of kind `towline.truncated` cuts the line that
//! it follows to its first `to` entries.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::SessionError;
use super::name::{SessionName, TranscriptName};
use crate::core::series::{Series, Standing};
use crate::node::series::{self, Most, Numbered};
use crate::store::{Reader, StoreError};
use crate::words::{Draft, DraftError, Entry, EntryId, Kind, NodeId, Seq, Tenant, Time, Topic};

/// The kind of a transcript's first entry, and of what announces it.
pub const TRANSCRIPT_KIND: &str = "towline.transcript";
/// The kind of an entry that cuts a line.
pub const TRUNCATED_KIND: &str = "towline.truncated";
/// The attribute that names the entry which an entry follows.
pub const AFTER: &str = "towline.after";
/// How many entries a transcript may have to be read as a whole, all branches counted.
pub const TRANSCRIPT_ENTRIES: usize = 100_000;
/// How many bytes of payload it may have.
pub const TRANSCRIPT_BYTES: usize = 64 << 20;

/// What a transcript came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// From nothing.
    Start,
    /// From another transcript, at a place in it.
    Fork {
        /// The other transcript.
        of: String,
        /// How many of its entries came before.
        at: u64,
    },
    /// From another transcript, which it sums up.
    Compaction {
        /// The other transcript.
        of: String,
    },
}

/// What the first entry of a transcript says, and what announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    pub session: String,
    pub transcript: String,
    #[serde(flatten)]
    pub origin: Origin,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

impl Announcement {
    pub fn draft(&self, tenant: &Tenant, topic: Topic) -> Result<Draft, DraftError> {
        let data = serde_json::to_vec(self).map_err(|e| DraftError::Json(e.to_string()))?;
        Ok(Draft::of_towline(tenant.clone(), topic, Kind::parse(TRANSCRIPT_KIND)?, data))
    }

    pub fn read(entry: &Entry) -> Option<Self> {
        let is_one = entry.body.kind.as_str() == TRANSCRIPT_KIND;
        is_one.then(|| serde_json::from_slice(&entry.body.data).ok()).flatten()
    }
}

/// What an entry that cuts a line says.
#[derive(Serialize, Deserialize)]
pub(super) struct Truncation {
    /// How many entries are left.
    pub to: u64,
}

/// A transcript along one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The session that it belongs to.
    pub session: SessionName,
    /// Its name.
    pub name: TranscriptName,
    /// What it came from.
    pub origin: Origin,
    /// When it began.
    pub began: Time,
    /// The entry that begins it, which is not one of its entries: ordinal and name.
    pub beginning: (u64, EntryId),
    /// Its entries in order, but for those that are archived.
    pub entries: Vec<Numbered>,
    /// How many entries the line has, archived ones counted.
    pub length: u64,
    /// The entry that the next one follows.
    pub tip: EntryId,
    /// Where others went on elsewhere.
    pub forks: Vec<Fork>,
    /// How many entries are here that follow one which has not arrived yet.
    pub waiting: u64,
}

impl Transcript {
    /// The last of the entries with which it began: its ordinal, and its name.
    pub(super) fn begun_with(&self) -> (u64, EntryId) {
        let first =
            self.entries.iter().take_while(|it| !it.entry.body.attributes.contains_key(AFTER));
        first.last().map_or(self.beginning, |last| (last.ordinal, last.entry.id()))
    }
}

/// A branch that leaves a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its first entry: reading through it reads the branch.
    pub first: EntryId,
    /// How many entries of the line come before it.
    pub at: u64,
}

/// What an entry follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing: it begins a transcript.
    Nothing,
    /// An entry that may still be on its way.
    Named(EntryId),
    /// The entry before it of its author, which must be there.
    Own(NodeId, Option<Seq>),
    /// Nobody can say.
    Garbled,
}

impl Follows {
    pub fn of(entry: &Entry) -> Self {
        if entry.body.kind.as_str() == TRANSCRIPT_KIND {
            return Self::Nothing;
        }
        match entry.body.attributes.get(AFTER) {
            Some(text) => text.parse().map_or(Self::Garbled, Self::Named),
            None => Self::Own(entry.author, entry.seq.0.checked_sub(1).map(Seq)),
        }
    }

    /// Whether it is this entry.
    pub fn is(self, id: EntryId) -> bool {
        match self {
            Self::Named(named) => (named.author, named.seq) == (id.author, id.seq),
            Self::Own(author, seq) => (author, seq) == (id.author, Some(id.seq)),
            Self::Nothing | Self::Garbled => false,
        }
    }
}

/// All that has arrived of a transcript.
pub(super) struct Tree {
    name: TranscriptName,
    nodes: Vec<Numbered>,
    parents: Vec<Option<usize>>,
    /// In merged order.
    children: Vec<Vec<usize>>,
    /// The entries that begin it, in merged order: one, unless two nodes chose the same name.
    roots: Vec<usize>,
    standing: Standing,
}

impl Tree {
    /// Reads a transcript.
    ///
    /// # Errors
    /// It is not there, too long, or corrupt.
    pub fn read(
        reader: &mut dyn Reader,
        tenant: &Tenant,
        name: &TranscriptName,
    ) -> Result<Self, SessionError> {
        let series = Series::thread(tenant.clone(), topic_of(name)?);
        let standing = reader.standing_of(&series)?.unwrap_or_default();
        // Archived entries are part of the tree: others follow them.
        let whole = Standing { archived: [].into(), hidden: 0, ..standing };
        let most = Most { entries: TRANSCRIPT_ENTRIES, bytes: TRANSCRIPT_BYTES };
        let run = match series::after(reader, (&series, &whole), 0, most, &|_| true) {
            Err(StoreError::Lost(_) | StoreError::Damaged(_)) => {
                return Err(first_damage(reader, &series, &whole, name));
            }
            run => run?,
        };
        if run.through < standing.entries {
            return Err(SessionError::TooLong(name.to_string()));
        }
        Self::new(name.clone(), run.entries, standing)
    }

    fn new(
        name: TranscriptName,
        nodes: Vec<Numbered>,
        standing: Standing,
    ) -> Result<Self, SessionError> {
        let mut places: HashMap<(NodeId, Seq), Vec<usize>> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            places.entry((node.entry.author, node.entry.seq)).or_default().push(at);
        }
        let mut tree = Self {
            name,
            parents: vec![None; nodes.len()],
            children: vec![Vec::new(); nodes.len()],
            roots: Vec::new(),
            nodes,
            standing,
        };
        let find = |tree: &Self, id: EntryId| {
            let found = places.get(&(id.author, id.seq)).map_or(&[][..], Vec::as_slice);
            let of_segment =
                |at: &&usize| id.segment.is_none_or(|it| tree.nodes[**at].entry.segment == it);
            found
                .iter()
                .filter(of_segment)
                .min_by_key(|at| tree.nodes[**at].entry.merged_key())
                .copied()
        };
        for at in 0..tree.nodes.len() {
            match Follows::of(&tree.nodes[at].entry) {
                Follows::Nothing => tree.roots.push(at),
                Follows::Named(id) => tree.parents[at] = find(&tree, id),
                Follows::Own(author, Some(seq)) => {
                    let own = find(&tree, EntryId { author, seq, segment: None });
                    let why = "it follows nothing of this transcript";
                    tree.parents[at] = Some(own.ok_or_else(|| tree.corrupt(at, why))?);
                }
                Follows::Own(_, None) => return Err(tree.corrupt(at, "it follows nothing")),
                Follows::Garbled => return Err(tree.corrupt(at, "it doesn't say what it follows")),
            }
            if let Some(parent) = tree.parents[at] {
                tree.children[parent].push(at);
            }
        }
        let Self { nodes, children, roots, .. } = &mut tree;
        for siblings in children.iter_mut().chain([roots]) {
            siblings.sort_by_key(|at| nodes[*at].entry.merged_key());
        }
        Ok(tree)
    }

    fn corrupt(&self, at: usize, why: &str) -> SessionError {
        let (transcript, place) = (self.name.to_string(), self.nodes[at].ordinal);
        SessionError::Corrupt { transcript, place, why: why.to_owned() }
    }

    /// The line of the transcript; or the one that passes through an entry.
    ///
    /// # Errors
    /// The transcript has not begun here, the entry is not in it, or something on the line can't be
    /// understood.
    pub fn line(&self, through: Option<EntryId>) -> Result<Transcript, SessionError> {
        let way = match through {
            Some(entry) => self.way_to(entry)?,
            None => Vec::new(),
        };
        let roots = way.first().map_or(&self.roots[..], std::slice::from_ref);
        let Some(root) = roots.first() else {
            let name = self.name.to_string();
            return Err(SessionError::NotFound { what: "transcript", name });
        };
        let said = Announcement::read(&self.nodes[*root].entry);
        let said = said.ok_or_else(|| self.corrupt(*root, "its beginning can't be understood"))?;
        let (mut line, mut forks) = (Vec::new(), Vec::new());
        for other in self.roots.iter().filter(|other| *other != root) {
            forks.push(Fork { first: self.nodes[*other].entry.id(), at: 0 });
        }
        let mut at = *root;
        for step in 1.. {
            let chosen = way.get(step).or_else(|| self.children[at].first());
            for other in self.children[at].iter().filter(|other| Some(*other) != chosen) {
                forks.push(Fork { first: self.nodes[*other].entry.id(), at: line.len() as u64 });
            }
            let Some(chosen) = chosen else { break };
            at = *chosen;
            self.take(at, &mut line)?;
        }
        let archived = |at: &usize| {
            let entry = &self.nodes[*at].entry;
            self.standing.is_archived(entry.author, entry.seq)
        };
        let shown = line.iter().filter(|at| !archived(at));
        Ok(Transcript {
            session: SessionName::parse(&said.session)?,
            name: self.name.clone(),
            origin: said.origin,
            began: self.nodes[*root].entry.time,
            beginning: (self.nodes[*root].ordinal, self.nodes[*root].entry.id()),
            length: line.len() as u64,
            entries: shown.map(|at| self.nodes[*at].clone()).collect(),
            tip: self.nodes[at].entry.id(),
            forks,
            waiting: self.waiting(),
        })
    }

    /// Takes an entry into a line.
    fn take(&self, at: usize, line: &mut Vec<usize>) -> Result<(), SessionError> {
        let body = &self.nodes[at].entry.body;
        if body.kind.as_str() != TRUNCATED_KIND {
            line.push(at);
            return Ok(());
        }
        let said: Option<Truncation> = serde_json::from_slice(&body.data).ok();
        match said.and_then(|said| usize::try_from(said.to).ok()) {
            Some(to) if to <= line.len() => line.truncate(to),
            _ => return Err(self.corrupt(at, "it cuts what is not there")),
        }
        Ok(())
    }

    /// The entries from a beginning to an entry.
    fn way_to(&self, entry: EntryId) -> Result<Vec<usize>, SessionError> {
        let is_it = |node: &Numbered| {
            (node.entry.author, node.entry.seq) == (entry.author, entry.seq)
                && entry.segment.is_none_or(|segment| segment == node.entry.segment)
        };
        let mut way: Vec<usize> = self.nodes.iter().position(is_it).into_iter().collect();
        while let Some(parent) = way.last().and_then(|at| self.parents[*at]) {
            way.push(parent);
            if way.len() > self.nodes.len() {
                break; // entries that follow each other in a ring lead to no beginning
            }
        }
        way.reverse();
        match way.first() {
            Some(root) if self.roots.contains(root) => Ok(way),
            _ => Err(SessionError::NoSuchEntry { transcript: self.name.to_string(), entry }),
        }
    }

    /// How many entries lead to no beginning yet.
    fn waiting(&self) -> u64 {
        let mut todo = self.roots.clone();
        let mut reached = 0;
        while let Some(at) = todo.pop() {
            reached += 1;
            todo.extend(&self.children[at]);
        }
        self.nodes.len() as u64 - reached
    }
}

/// The topic of a transcript.
///
/// # Errors
/// None in practice: a name makes a topic.
pub(super) fn topic_of(name: &TranscriptName) -> Result<Topic, SessionError> {
    Ok(Topic::parse(&format!("transcript/{name}"))?)
}

/// Finds the first place at which a transcript can't be read.
fn first_damage(
    reader: &mut dyn Reader,
    series: &Series,
    standing: &Standing,
    name: &TranscriptName,
) -> SessionError {
    let one = Most { entries: 1, bytes: 1 };
    let mut at = 0;
    loop {
        match series::after(reader, (series, standing), at, one, &|_| true) {
            Ok(run) if run.through > at => at = run.through,
            Ok(_) => return SessionError::TooLong(name.to_string()),
            Err(error) => {
                let (transcript, place) = (name.to_string(), at + 1);
                return SessionError::Corrupt { transcript, place, why: error.to_string() };
            }
        }
    }
}
