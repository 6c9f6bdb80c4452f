//! Parts of a transcript's line, read from the store.

use std::ops::Range;

use super::SessionError;
use super::name::SessionName;
use super::transcript::{Announcement, Fork, Transcript, Window};
use super::tree::{Line, Tree};
use crate::core::merge::Direction;
use crate::node::series::{self, Most, Numbered};
use crate::store::Reader;
use crate::words::EntryId;

/// How many branches a page names at most.
const FORKS: usize = 1_000;
/// How many entries are read at once.
const READ_AT_ONCE: usize = 1_024;
/// How many are from the end of a line, where it isn't known before how long they are.
const READ_BACK: usize = 16;

impl Tree {
    /// A part of the line that passes through an entry, or of the line of the transcript.
    ///
    /// # Errors
    /// As [`Tree::line`]; or the window's entry is not on the line, or the store can't be read.
    pub fn part(
        &self,
        reader: &mut dyn Reader,
        through: Option<EntryId>,
        window: Window,
        most: Most,
    ) -> Result<Transcript, SessionError> {
        let named = match window {
            Window::After(id) | Window::Before(id) => Some(id),
            Window::First | Window::Newest => None,
        };
        let line = self.line(through.or(named))?;
        let said = self.beginning(reader, line.root)?;
        let all = line.entries.len();
        let (part, direction) = match window {
            Window::First => (0..all, Direction::Forward),
            Window::After(id) => (self.place_of(&line, id)?.end..all, Direction::Forward),
            Window::Before(id) => (0..self.place_of(&line, id)?.start, Direction::Backward),
            Window::Newest => (0..all, Direction::Backward),
        };
        let (Range { start, end }, entries) = match direction {
            Direction::Forward => self.forward(reader, &line, part, most)?,
            Direction::Backward => self.backward(reader, &line, part, most)?,
        };
        let at_end = end == all;
        let here = |at: u64| at >= start as u64 && (at < end as u64 || at_end);
        let forks = line.forks.iter().filter(|(at, _)| here(*at));
        let forks = forks.map(|(at, first)| Fork { first: self.id(*first), at: *at });
        let last = line.entries[..end].last();
        let begun = line.entries.iter().take_while(|at| !self.bone(**at).names).last();
        let begun = begun.copied().unwrap_or(line.root);
        Ok(Transcript {
            session: SessionName::parse(&said.session)?,
            name: self.name.clone(),
            origin: said.origin,
            began: self.bone(line.root).time,
            beginning: (self.bone(line.root).ordinal, self.id(line.root)),
            entries,
            preceding: start as u64,
            next: last.filter(|_| !at_end).map(|last| self.id(*last)),
            length: all as u64,
            tip: self.tip(&line),
            branches: line.forks.len() as u64,
            forks: forks.take(FORKS).collect(),
            waiting: self.waiting(),
            begun_with: (self.bone(begun).ordinal, self.id(begun)),
        })
    }

    fn beginning(&self, reader: &mut dyn Reader, root: u32) -> Result<Announcement, SessionError> {
        let read = series::these(reader, &self.series, &[self.bone(root).ordinal], 1)?;
        let said = read.first().and_then(|it| Announcement::read(&it.entry));
        said.ok_or_else(|| self.corrupt(root, "its beginning can't be understood"))
    }

    /// The place of an entry on a line; that of the beginning is before all others.
    fn place_of(&self, line: &Line, id: EntryId) -> Result<Range<usize>, SessionError> {
        let found = self.find(id);
        if found == Some(line.root) {
            return Ok(0..0);
        }
        let at = line.entries.iter().position(|at| Some(*at) == found);
        at.map(|at| at..at + 1).ok_or_else(|| self.no_such(id))
    }

    /// Reads entries of a part of a line, the first ones; and which part they are.
    fn forward(
        &self,
        reader: &mut dyn Reader,
        line: &Line,
        part: Range<usize>,
        most: Most,
    ) -> Result<(Range<usize>, Vec<Numbered>), SessionError> {
        let (mut entries, mut bytes, mut end) = (Vec::new(), 0, part.start);
        while end < part.end && entries.len() < most.entries && bytes < most.bytes {
            let piece = part.end.min(end + (most.entries - entries.len()).min(READ_AT_ONCE));
            let piece = self.rising(&line.entries[end..piece]);
            let shown: Vec<u64> = piece.iter().filter_map(|at| self.shown(*at)).collect();
            let read = series::these(reader, &self.series, &shown, most.bytes - bytes)?;
            bytes += read.iter().map(|it| it.entry.body.size()).sum::<usize>();
            let last = read.last().map(|it| it.ordinal);
            let is_last = |at: &u32| Some(self.bone(*at).ordinal) == last;
            end += match piece.iter().position(is_last) {
                Some(at) if read.len() < shown.len() => at + 1,
                _ => piece.len(),
            };
            entries.extend(read);
        }
        Ok((part.start..end, entries))
    }

    /// As [`Tree::forward`], the last ones.
    fn backward(
        &self,
        reader: &mut dyn Reader,
        line: &Line,
        part: Range<usize>,
        most: Most,
    ) -> Result<(Range<usize>, Vec<Numbered>), SessionError> {
        let (mut pieces, mut count, mut bytes) = (Vec::new(), 0, 0);
        let mut start = part.end;
        while start > part.start && count < most.entries && bytes < most.bytes {
            let end = start;
            start = part.start.max(end.saturating_sub((most.entries - count).min(READ_BACK)));
            let all = Most { entries: usize::MAX, bytes: usize::MAX };
            let (_, read) = self.forward(reader, line, start..end, all)?;
            bytes += read.iter().map(|it| it.entry.body.size()).sum::<usize>();
            count += read.len();
            pieces.push(read);
        }
        Ok((start..part.end, pieces.into_iter().rev().flatten().collect()))
    }

    /// The ordinal of an entry that is not archived.
    fn shown(&self, at: u32) -> Option<u64> {
        let bone = self.bone(at);
        (!self.standing.is_archived(self.author(at), bone.seq)).then_some(bone.ordinal)
    }

    /// The first entries of a line, as far as their ordinals rise: what arrived late may not.
    fn rising<'l>(&self, line: &'l [u32]) -> &'l [u32] {
        let rises = |pair: &[u32]| self.bone(pair[0]).ordinal < self.bone(pair[1]).ordinal;
        let count = line.windows(2).take_while(|pair| rises(pair)).count();
        &line[..line.len().min(count + 1)]
    }
}
