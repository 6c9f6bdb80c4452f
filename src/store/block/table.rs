//! The columns of a block, unpacked, for reading.

use std::ops::Range;

use super::Trust;
use super::input::Input;
use crate::words::entry::View;
use crate::words::limits::{ATTRIBUTES, CHANGE_ENTRIES};
use crate::words::{Seq, Time};

/// Names that many entries share: tenant, topic, kind, content type.
pub(super) type Names<'a> = [&'a str; 4];

/// How a record is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All texts of each of the names; the data in the order of the entries.
    Spelled,
    /// The distinct texts, and which of them each of the names has.
    Listed,
    /// As that, but the data of entries that have the same names lies together, and begins in the sample.
    Grouped,
}

fn read_names<'a>(input: &mut Input<'a>, all: usize, layout: Layout) -> Option<Vec<Names<'a>>> {
    let distinct = input.length(all)?;
    // Each takes four bytes at least.
    (distinct <= input.bytes.len() / 4).then_some(())?;
    let mut names: Vec<Names<'_>> = Vec::with_capacity(distinct);
    if layout == Layout::Spelled {
        for _ in 0..distinct {
            names.push([input.text()?, input.text()?, input.text()?, input.text()?]);
        }
        return Some(names);
    }
    names.resize(distinct, [""; 4]);
    let mut texts: Vec<&str> = Vec::new();
    for at in 0..4 {
        texts.clear();
        for _ in 0..input.length(distinct)? {
            texts.push(input.text()?);
        }
        for names in &mut names {
            names[at] = *texts.get(usize::try_from(input.number()?).ok()?)?;
        }
    }
    Some(names)
}

/// What stands beside the data, unpacked.
pub(super) struct Table<'a> {
    /// How many entries each change holds.
    pub counts: Vec<usize>,
    pub names: Vec<Names<'a>>,
    /// Which names, how many attributes, lengths of data, times, texts of attributes.
    pub columns: [Input<'a>; 5],
    /// How the data begins.
    pub sample: &'a [u8],
    layout: Layout,
}

impl<'a> Table<'a> {
    pub fn read(beside: &'a [u8], layout: Layout, seqs: &Range<Seq>) -> Option<Self> {
        let mut input = Input { bytes: beside };
        // Nothing is made room for that the block has no entries for: a few bytes unpack to millions.
        let all = seqs.end.0.checked_sub(seqs.start.0)?;
        let all = usize::try_from(all).ok()?;
        let changes = input.length(all)?;
        let counts: Vec<usize> =
            (0..changes).map(|_| input.length(CHANGE_ENTRIES)).collect::<Option<_>>()?;
        (counts.iter().sum::<usize>() == all).then_some(())?;
        let names = read_names(&mut input, all, layout)?;
        let mut column = || {
            let length = input.length(beside.len())?;
            Some(Input { bytes: input.take(length)? })
        };
        let columns = [column()?, column()?, column()?, column()?, column()?];
        let sample = if layout == Layout::Grouped { column()?.bytes } else { &[] };
        input.bytes.is_empty().then_some(Self { counts, names, columns, sample, layout })
    }

    /// How many entries the block holds.
    pub fn entries(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The texts of attributes.
    pub fn texts(&self) -> &'a [u8] {
        self.columns[4].bytes
    }

    /// Where the data of each entry lies, for asking.
    pub fn places(&self) -> Places {
        let groups = if self.layout == Layout::Grouped { self.names.len() } else { 1 };
        Places { ends: vec![0; groups] }
    }

    /// All entries, one after the other.
    pub fn over(self, data: &'a [u8]) -> Option<Entries<'a>> {
        let mut places = self.places();
        let Self { names, counts, columns: [which, attributes, lengths, times, texts], .. } = self;
        let (mut each, mut long) = (which, lengths);
        for _ in 0..counts.iter().sum() {
            places.next(each.length(names.len().checked_sub(1)?)?, long.number()?)?;
        }
        (places.rewind()? == data.len() as u64).then_some(())?;
        Some(Entries {
            counts,
            names,
            which,
            attributes,
            lengths,
            times,
            texts,
            time: 0,
            places,
            data,
        })
    }
}

/// Where entries' data lies: one after the other, those of the same names together where they are grouped.
///
/// Lengths are given twice: at first all of them, to know where each group begins, and then again.
pub(super) struct Places {
    /// For each group, where the data ends of those that were given.
    ends: Vec<u64>,
}

impl Places {
    /// Where the data lies of the next entry, which has these names: in its group, or after
    /// [`Self::rewind`] in all of the data.
    #[inline]
    pub fn next(&mut self, names: usize, length: u64) -> Option<Range<u64>> {
        let group = self.group_of(names);
        let end = self.ends.get_mut(group)?;
        let start = *end;
        *end = start.checked_add(length)?;
        Some(start..*end)
    }

    /// Begins again, now that all lengths are known. Returns their sum.
    pub fn rewind(&mut self) -> Option<u64> {
        let mut start = 0u64;
        for group in &mut self.ends {
            let end = start.checked_add(*group)?;
            (*group, start) = (start, end);
        }
        Some(start)
    }

    /// Where a group begins in all of the data, right after [`Self::rewind`].
    pub fn begin(&self, names: usize) -> Option<u64> {
        self.ends.get(self.group_of(names)).copied()
    }

    #[inline]
    fn group_of(&self, names: usize) -> usize {
        if self.ends.len() == 1 { 0 } else { names }
    }
}

/// The entries of an unpacked block, one after the other.
pub(super) struct Entries<'a> {
    /// How many each change holds.
    pub counts: Vec<usize>,
    names: Vec<Names<'a>>,
    which: Input<'a>,
    attributes: Input<'a>,
    lengths: Input<'a>,
    times: Input<'a>,
    texts: Input<'a>,
    time: u64,
    places: Places,
    data: &'a [u8],
}

impl<'a> Entries<'a> {
    pub fn next_view(&mut self) -> Option<View<'a>> {
        let which = usize::try_from(self.which.number()?).ok()?;
        let [tenant, topic, kind, content_type] = *self.names.get(which)?;
        self.time = self.time.checked_add(self.times.number()?)?;
        let time = Time::from_bits(self.time)?;
        let attributes = self.attributes.length(ATTRIBUTES)?;
        let attributes = (0..attributes)
            .map(|_| Some((self.texts.text()?, self.texts.text()?)))
            .collect::<Option<_>>()?;
        let Range { start, end } = self.places.next(which, self.lengths.number()?)?;
        let data = self.data.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        Some(View { time, tenant, topic, kind, attributes, content_type, data })
    }

    /// Writes the next entry's CBOR, and returns its time.
    pub fn write_next(&mut self, out: &mut Vec<u8>, trust: Trust) -> Option<Time> {
        let view = self.next_view()?;
        if trust == Trust::Nobody {
            view.check_content().ok()?;
        }
        view.write(out);
        Some(view.time)
    }

    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        let columns = [&self.which, &self.attributes, &self.lengths, &self.times, &self.texts];
        columns.iter().all(|column| column.bytes.is_empty())
    }
}

/// Whether names are such as an entry may have.
pub(super) fn are_sound([tenant, topic, kind, content_type]: Names<'_>) -> bool {
    let (time, attributes, data): (_, _, &[u8]) = (Time::default(), Vec::new(), &[]);
    let view = View { time, tenant, topic, kind, attributes, content_type, data };
    view.check_names().is_ok()
}
