//! How the entries of a transcript follow each other: a tree, of which a line is read.

use std::collections::HashMap;

use super::SessionError;
use super::name::TranscriptName;
use super::transcript::{AFTER, Follows, TRANSCRIPT_ENTRIES, TRUNCATED_KIND, Truncation, topic_of};
use crate::core::series::{Series, Standing};
use crate::node::series::{self, Most, Place};
use crate::store::{Reader, StoreError};
use crate::words::entry::View;
use crate::words::{ChangeHash, EntryId, NodeId, SegmentId, Seq, Tenant, Time};

/// What an entry does to the line that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It goes on.
    GoesOn,
    /// It cuts the line to so many entries.
    Cuts(u32),
    /// It cuts it, and nobody can say to what.
    Garbled,
}

/// What an entry stands under in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parent {
    /// Under nothing: it begins the transcript.
    None,
    /// Under an entry that is not here.
    Missing,
    /// Under this one.
    At(u32),
}

/// An entry as the tree knows it: where it stands, and nothing of what it says.
pub(super) struct Bone {
    pub ordinal: u64,
    pub seq: Seq,
    pub time: Time,
    /// Author and segment.
    strand: u32,
    change: u32,
    parent: Parent,
    does: Does,
    /// Whether it names the entry that it follows.
    pub names: bool,
}

/// How the entries of a transcript follow each other, as far as they have arrived. It takes about a hundred
/// bytes for each of them, however long they are.
pub(super) struct Tree {
    pub series: Series,
    pub name: TranscriptName,
    /// In order of their ordinals.
    bones: Vec<Bone>,
    strands: Vec<(NodeId, SegmentId)>,
    changes: Vec<ChangeHash>,
    /// All of them by author, seq and place in merged order.
    by_name: Vec<u32>,
    /// All of them by parent, and those of one parent in merged order.
    by_parent: Vec<u32>,
    pub standing: Standing,
    /// Whether entries were removed.
    has_holes: bool,
    /// The authors of whom two entries may share a seq, in order.
    branched: Vec<NodeId>,
}

/// A line of a transcript.
pub(super) struct Line {
    pub root: u32,
    /// The entries that are on it.
    pub entries: Vec<u32>,
    /// The last entry, be it one that cuts the line.
    tip: u32,
    /// Where branches leave it: after how many entries, and the first entry of each.
    pub forks: Vec<(u64, u32)>,
}

impl Tree {
    /// Reads how a transcript hangs together.
    ///
    /// # Errors
    /// It is too long, or corrupt.
    pub fn read(
        reader: &mut dyn Reader,
        tenant: &Tenant,
        name: &TranscriptName,
    ) -> Result<Self, SessionError> {
        let series = Series::thread(tenant.clone(), topic_of(name)?);
        let standing = reader.standing_of(&series)?.unwrap_or_default();
        let mut building = Building::default();
        let seen = series::visit(reader, &series, |place, view| {
            if building.bones.len() >= TRANSCRIPT_ENTRIES {
                return Err(SessionError::TooLong(name.to_string()));
            }
            building.add(place, view);
            Ok(())
        });
        let seen = match seen {
            Err(SessionError::Store(error @ (StoreError::Lost(_) | StoreError::Damaged(_)))) => {
                return Err(first_damage(reader, &series, name, error));
            }
            seen => seen?,
        };
        let has_holes = seen < standing.entries;
        building.hang_together(Self {
            series,
            name: name.clone(),
            bones: Vec::new(),
            strands: Vec::new(),
            changes: Vec::new(),
            by_name: Vec::new(),
            by_parent: Vec::new(),
            standing,
            has_holes,
            branched: reader.branched()?,
        })
    }

    pub(super) fn bone(&self, at: u32) -> &Bone {
        &self.bones[at as usize]
    }

    pub(super) fn author(&self, at: u32) -> NodeId {
        self.strands[self.bone(at).strand as usize].0
    }

    fn key(&self, at: u32) -> (Time, NodeId, Seq, SegmentId, ChangeHash) {
        let bone = self.bone(at);
        let (author, segment) = self.strands[bone.strand as usize];
        (bone.time, author, bone.seq, segment, self.changes[bone.change as usize])
    }

    pub(super) fn id(&self, at: u32) -> EntryId {
        let bone = self.bone(at);
        let (author, segment) = self.strands[bone.strand as usize];
        let is_branched = self.branched.binary_search(&author).is_ok();
        EntryId { author, seq: bone.seq, segment: is_branched.then_some(segment) }
    }

    /// The entry of this name that is first in merged order, where there is more than one.
    pub(super) fn find(&self, id: EntryId) -> Option<u32> {
        let name = |at: &u32| (self.author(*at), self.bone(*at).seq);
        let first = self.by_name.partition_point(|at| name(at) < (id.author, id.seq));
        let named = self.by_name[first..].iter().take_while(|at| name(at) == (id.author, id.seq));
        let of_segment = |at: &&u32| {
            let (_, segment) = self.strands[self.bone(**at).strand as usize];
            id.segment.is_none_or(|wanted| wanted == segment)
        };
        named.copied().find(|at| of_segment(&at))
    }

    /// The entries that stand under one, in merged order.
    fn under(&self, parent: Parent) -> &[u32] {
        let of = |at: &u32| self.bone(*at).parent;
        let first = self.by_parent.partition_point(|at| of(at) < parent);
        let count = self.by_parent[first..].partition_point(|at| of(at) == parent);
        &self.by_parent[first..first + count]
    }

    pub(super) fn corrupt(&self, at: u32, why: &str) -> SessionError {
        let (transcript, place) = (self.name.to_string(), self.bone(at).ordinal);
        SessionError::Corrupt { transcript, place, why: why.to_owned() }
    }

    pub(super) fn no_such(&self, entry: EntryId) -> SessionError {
        SessionError::NoSuchEntry { transcript: self.name.to_string(), entry }
    }

    /// The line of the transcript; or the one that passes through an entry.
    ///
    /// # Errors
    /// The transcript has not begun here, the entry is not in it, or something on the line can't be
    /// understood.
    pub fn line(&self, through: Option<EntryId>) -> Result<Line, SessionError> {
        let way = match through {
            Some(entry) => self.way_to(entry)?,
            None => Vec::new(),
        };
        let roots = self.under(Parent::None);
        let root = way.first().or(roots.first()).copied().ok_or_else(|| self.absent())?;
        let others = roots.iter().filter(|other| **other != root);
        let forks = others.map(|other| (0, *other)).collect();
        let mut line = Line { root, entries: Vec::new(), tip: root, forks };
        for step in 1.. {
            let under = self.under(Parent::At(line.tip));
            let chosen = way.get(step).or_else(|| under.first()).copied();
            let at = line.entries.len() as u64;
            let others = under.iter().filter(|other| Some(**other) != chosen);
            line.forks.extend(others.map(|other| (at, *other)));
            let Some(chosen) = chosen else { break };
            line.tip = chosen;
            match self.bone(chosen).does {
                Does::GoesOn => line.entries.push(chosen),
                Does::Cuts(to) if u64::from(to) <= at => line.entries.truncate(to as usize),
                _ => return Err(self.corrupt(chosen, "it cuts what is not there")),
            }
        }
        Ok(line)
    }

    /// The entry that the next one of a line follows.
    pub fn tip(&self, line: &Line) -> EntryId {
        self.id(line.tip)
    }

    /// Whether the line goes on from an entry by entries alone that come above an ordinal, another entry
    /// not among them.
    pub fn goes_on(&self, from: EntryId, above: u64, without: Option<EntryId>) -> bool {
        let (from, without) = (self.find(from), without.and_then(|id| self.find(id)));
        let mut at = self.under(Parent::None).first().copied();
        let mut is_after = false;
        while let Some(next) = at {
            let bone = self.bone(next);
            let is_new = bone.does == Does::GoesOn && bone.ordinal > above && at != without;
            if is_after && !is_new {
                return false;
            }
            is_after |= at == from;
            at = self.under(Parent::At(next)).first().copied();
        }
        is_after
    }

    /// Why nothing of the transcript is read.
    fn absent(&self) -> SessionError {
        let name = self.name.to_string();
        match self.has_holes {
            true => SessionError::Removed(name),
            false => SessionError::NotFound { what: "transcript", name },
        }
    }

    /// The entries from a beginning to an entry.
    fn way_to(&self, entry: EntryId) -> Result<Vec<u32>, SessionError> {
        let mut way = vec![self.find(entry).ok_or_else(|| self.no_such(entry))?];
        // Entries that follow each other in a ring lead to no beginning.
        while way.len() <= self.bones.len() {
            match self.bone(way[way.len() - 1]).parent {
                Parent::At(parent) => way.push(parent),
                Parent::Missing => break,
                Parent::None => {
                    way.reverse();
                    return Ok(way);
                }
            }
        }
        Err(self.no_such(entry))
    }

    /// How many entries lead to no beginning.
    pub fn waiting(&self) -> u64 {
        let mut todo = self.under(Parent::None).to_vec();
        let mut reached = 0;
        while let Some(at) = todo.pop() {
            reached += 1;
            todo.extend(self.under(Parent::At(at)));
        }
        self.bones.len() as u64 - reached
    }
}

/// A tree while its entries are read.
#[derive(Default)]
struct Building {
    bones: Vec<Bone>,
    follows: Vec<Follows>,
    strands: Vec<(NodeId, SegmentId)>,
    strand_of: HashMap<(NodeId, SegmentId), u32>,
    changes: Vec<ChangeHash>,
}

impl Building {
    fn add(&mut self, place: Place, view: &View<'_>) {
        let Place { ordinal, author, seq, segment, change } = place;
        let strands = &mut self.strands;
        let strand = *self.strand_of.entry((author, segment)).or_insert_with(|| {
            strands.push((author, segment));
            strands.len() as u32 - 1
        });
        if self.changes.last() != Some(&change) {
            self.changes.push(change);
        }
        let does = match view.kind {
            TRUNCATED_KIND => match serde_json::from_slice(view.data) {
                Ok(Truncation { to }) => u32::try_from(to).map_or(Does::Garbled, Does::Cuts),
                Err(_) => Does::Garbled,
            },
            _ => Does::GoesOn,
        };
        let after = view.attributes.iter().find(|(key, _)| *key == AFTER);
        let follows = Follows::said((author, seq), view.kind, after.map(|(_, text)| *text));
        let names = matches!(follows, Follows::Named(_) | Follows::Garbled);
        let (time, change) = (view.time, (self.changes.len() - 1) as u32);
        let parent = Parent::Missing;
        self.bones.push(Bone { ordinal, seq, time, strand, change, parent, does, names });
        self.follows.push(follows);
    }

    /// Finds what follows what.
    ///
    /// # Errors
    /// An entry doesn't say what it follows, or says that it follows one that can't be missing.
    fn hang_together(self, mut tree: Tree) -> Result<Tree, SessionError> {
        (tree.bones, tree.strands, tree.changes) = (self.bones, self.strands, self.changes);
        let all = 0..tree.bones.len() as u32;
        let mut by_name: Vec<u32> = all.clone().collect();
        let name = |at: u32| (tree.author(at), tree.bone(at).seq, tree.key(at));
        by_name.sort_unstable_by_key(|at| name(*at));
        tree.by_name = by_name;
        for (at, follows) in (0..).zip(self.follows) {
            tree.bones[at as usize].parent = match follows {
                Follows::Nothing => Parent::None,
                Follows::Named(id) => tree.find(id).map_or(Parent::Missing, Parent::At),
                Follows::Own(author, Some(seq)) => {
                    match tree.find(EntryId { author, seq, segment: None }) {
                        Some(own) => Parent::At(own),
                        None if tree.has_holes => Parent::Missing,
                        None => {
                            return Err(tree.corrupt(at, "it follows nothing of this transcript"));
                        }
                    }
                }
                Follows::Own(_, None) => return Err(tree.corrupt(at, "it follows nothing")),
                Follows::Garbled => return Err(tree.corrupt(at, "it doesn't say what it follows")),
            };
        }
        let mut by_parent: Vec<u32> = all.collect();
        let place = |at: u32| (tree.bone(at).parent, tree.key(at));
        by_parent.sort_unstable_by_key(|at| place(*at));
        tree.by_parent = by_parent;
        Ok(tree)
    }
}

impl Line {
    /// How many entries it has.
    pub fn length(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// Finds the first place at which a transcript can't be read.
fn first_damage(
    reader: &mut dyn Reader,
    series: &Series,
    name: &TranscriptName,
    error: StoreError,
) -> SessionError {
    let entries = match reader.entries_of(series) {
        Ok(entries) => entries,
        Err(error) => return error.into(),
    };
    let whole = Standing { entries, ..Standing::default() };
    let one = Most { entries: 1, bytes: 1 };
    let mut at = 0;
    loop {
        match series::after(reader, (series, &whole), at, one, &|_| true) {
            Ok(run) if run.through > at => at = run.through,
            Ok(_) => return error.into(),
            Err(error) => {
                let (transcript, place) = (name.to_string(), at + 1);
                return SessionError::Corrupt { transcript, place, why: error.to_string() };
            }
        }
    }
}
