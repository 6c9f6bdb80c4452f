//! The entries of a block as columns, for writing.

use std::collections::HashMap;

use super::frames::SAMPLE;
use super::input::{number, text};
use crate::words::entry::View;

/// A block's entries, as columns.
#[derive(Default)]
pub(super) struct Columns {
    /// How many entries each change holds.
    head: Vec<u8>,
    /// The distinct names, in the order of their first entry: which texts they are.
    names: Vec<[u32; 4]>,
    texts_of: [Texts; 4],
    known: HashMap<[u32; 4], u32>,
    newest: Option<([u32; 4], u32)>,
    /// For each entry: which names, how many attributes, how long the data.
    which: Vec<u8>,
    attributes: Vec<u8>,
    lengths: Vec<u8>,
    /// Times, each as what it rises above the one before.
    times: Vec<u8>,
    time: u64,
    /// The texts of attributes.
    texts: Vec<u8>,
    /// For each of the names, the data of their entries.
    data: Vec<Vec<u8>>,
}

/// The distinct texts of one sort of name, in the order of their first entry.
#[derive(Default)]
struct Texts {
    spelled: Vec<u8>,
    known: HashMap<String, u32>,
    newest: (String, u32),
}

impl Texts {
    fn which(&mut self, wanted: &str) -> u32 {
        let (newest, which) = &mut self.newest;
        if newest == wanted && !self.known.is_empty() {
            return *which;
        }
        let next = self.known.len() as u32;
        *which = match self.known.get(wanted) {
            Some(known) => *known,
            None => {
                text(&mut self.spelled, wanted);
                *self.known.entry(wanted.to_owned()).or_insert(next)
            }
        };
        newest.clear();
        newest.push_str(wanted);
        *which
    }
}

impl Columns {
    /// Columns of so many changes, of no entries yet.
    pub fn of(changes: usize) -> Self {
        let mut columns = Self::default();
        number(&mut columns.head, changes as u64);
        columns
    }

    /// The next change holds so many entries, which follow.
    pub fn begin_change(&mut self, entries: u32) {
        number(&mut self.head, u64::from(entries));
    }

    pub fn push(&mut self, view: &View<'_>) {
        let which = self.which_names(view);
        number(&mut self.which, u64::from(which));
        number(&mut self.attributes, view.attributes.len() as u64);
        for (key, value) in &view.attributes {
            text(&mut self.texts, key);
            text(&mut self.texts, value);
        }
        number(&mut self.lengths, view.data.len() as u64);
        number(&mut self.times, view.time.bits().wrapping_sub(self.time));
        self.time = view.time.bits();
        self.data[which as usize].extend_from_slice(view.data);
    }

    fn which_names(&mut self, view: &View<'_>) -> u32 {
        let texts = [view.tenant, view.topic, view.kind, view.content_type];
        let spelled: [u32; 4] = std::array::from_fn(|at| self.texts_of[at].which(texts[at]));
        if let Some((newest, which)) = self.newest
            && newest == spelled
        {
            return which;
        }
        let next = self.names.len() as u32;
        let which = *self.known.entry(spelled).or_insert(next);
        if which == next {
            self.names.push(spelled);
            self.data.push(Vec::new());
        }
        self.newest = Some((spelled, which));
        which
    }

    /// All columns, each behind its length, with the sample that begins the data; and the data.
    pub fn join(mut self) -> (Vec<u8>, Vec<u8>) {
        let data = match &mut self.data[..] {
            [alone] => std::mem::take(alone),
            all => all.concat(),
        };
        let sample = &data[..data.len().min(SAMPLE)];
        let mut out = Vec::with_capacity(self.head.len() + self.lengths.len() * 6 + SAMPLE + 256);
        out.extend_from_slice(&self.head);
        number(&mut out, self.names.len() as u64);
        for (at, texts) in self.texts_of.iter().enumerate() {
            number(&mut out, texts.known.len() as u64);
            out.extend_from_slice(&texts.spelled);
            self.names.iter().for_each(|names| number(&mut out, u64::from(names[at])));
        }
        let columns =
            [&self.which, &self.attributes, &self.lengths, &self.times, &self.texts, sample];
        for column in columns {
            number(&mut out, column.len() as u64);
            out.extend_from_slice(column);
        }
        (out, data)
    }
}
