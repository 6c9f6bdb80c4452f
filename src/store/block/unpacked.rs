//! A block's entries as they lie in it: unpacked, and read without building its changes again.
//!
//! Building them takes several times as long as reading them, and only their hashes come of it. The
//! checksum covers the place, the record and the hash of the last change, so that what was altered on the
//! disk is noticed as it is when a block is opened; and the record was compared with what was signed when
//! it was packed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::input::Input;
use super::table::{Names, Table};
use super::{Damaged, Stand};
use crate::words::entry::{View, owned_type};
use crate::words::limits::ATTRIBUTES;
use crate::words::{Draft, Kind, Seq, Tenant, Time, Topic};

/// Entries of a block, in order of seq: all of them, or those that were wanted.
#[derive(Debug)]
pub struct Unpacked {
    first: Seq,
    /// What the names of the block are, as far as an entry here has them.
    names: Vec<Option<Named>>,
    rows: Vec<Row>,
    /// The texts of attributes.
    texts: Vec<u8>,
    data: Vec<u8>,
}

/// Where an entry lies.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// How many entries of the block stand before it.
    before: u32,
    which: u32,
    time: Time,
    attributes: u32,
    /// Where the texts of its attributes begin.
    texts: u32,
    pub data: Range<u32>,
}

/// Names that entries share, as each of them gets them.
#[derive(Debug)]
struct Named {
    tenant: Tenant,
    topic: Topic,
    kind: Kind,
    content_type: Cow<'static, str>,
}

impl Unpacked {
    /// Puts together what was read of a block that has these names.
    pub(super) fn new(
        stand: &Stand<'_>,
        names: &[Names<'_>],
        rows: Vec<Row>,
        texts: &[u8],
        data: Vec<u8>,
    ) -> Result<Self, Damaged> {
        let mut named: Vec<Option<Named>> = Vec::new();
        named.resize_with(names.len(), || None);
        let mut before: Option<usize> = None;
        for row in &rows {
            let which = row.which as usize;
            if named[which].is_none() {
                let named_before = before.and_then(|before| named[before].as_ref());
                named[which] = Some(Named::read(names[which], named_before).ok_or(Damaged)?);
            }
            before = Some(which);
        }
        Ok(Self { first: stand.first_seq, names: named, rows, texts: texts.to_vec(), data })
    }

    /// How many entries these are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many bytes the payloads and the texts of attributes are.
    pub fn bytes(&self) -> usize {
        self.texts.len() + self.data.len()
    }

    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let names = self.names.len() * size_of::<Option<Named>>();
        self.rows.len() * size_of::<Row>() + names + self.bytes()
    }

    /// Which of the entries have these seqs, by their places here.
    pub fn within(&self, seqs: &Range<Seq>) -> Range<usize> {
        let at = |seq: Seq| {
            let before = seq.0.saturating_sub(self.first.0);
            self.rows.partition_point(|row| u64::from(row.before) < before)
        };
        let end = at(seqs.end);
        at(seqs.start).min(end)..end
    }

    /// The seq and the time of an entry.
    pub fn place(&self, at: usize) -> (Seq, Time) {
        let row = &self.rows[at];
        (self.first.plus(u64::from(row.before)), row.time)
    }

    /// An entry. None where its attributes are none.
    pub fn view(&self, at: usize) -> Option<View<'_>> {
        let row = &self.rows[at];
        let Named { tenant, topic, kind, content_type } =
            self.names.get(row.which as usize)?.as_ref()?;
        Some(View {
            time: row.time,
            tenant: tenant.as_str(),
            topic: topic.as_str(),
            kind: kind.as_str(),
            attributes: self.attributes(row)?,
            content_type,
            data: self.data(row),
        })
    }

    /// What was appended, with the names that all entries here share. None where its attributes are none.
    pub fn draft(&self, at: usize) -> Option<Draft> {
        let row = &self.rows[at];
        let Named { tenant, topic, kind, content_type } =
            self.names.get(row.which as usize)?.as_ref()?;
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let attributes = match row.attributes {
            0 => BTreeMap::new(),
            _ => self.attributes(row)?.into_iter().map(own).collect(),
        };
        Some(Draft {
            tenant: tenant.clone(),
            topic: topic.clone(),
            kind: kind.clone(),
            attributes,
            content_type: content_type.clone(),
            data: Bytes::copy_from_slice(self.data(row)),
        })
    }

    /// The times of the first and the last entry.
    pub fn times(&self) -> Option<(Time, Time)> {
        Some((self.rows.first()?.time, self.rows.last()?.time))
    }

    fn attributes(&self, row: &Row) -> Option<Vec<(&str, &str)>> {
        let mut input = Input { bytes: self.texts.get(row.texts as usize..)? };
        (0..row.attributes).map(|_| Some((input.text()?, input.text()?))).collect()
    }

    fn data(&self, row: &Row) -> &[u8] {
        &self.data[row.data.start as usize..row.data.end as usize]
    }
}

impl Named {
    /// Reads names, as many as can be shared with others.
    fn read([tenant, topic, kind, content_type]: Names<'_>, other: Option<&Self>) -> Option<Self> {
        let other_tenant = other.map(|other| &other.tenant).filter(|it| it.as_str() == tenant);
        let other_kind = other.map(|other| &other.kind).filter(|it| it.as_str() == kind);
        Some(Self {
            tenant: other_tenant.cloned().or_else(|| Tenant::parse(tenant).ok())?,
            topic: Topic::parse(topic).ok()?,
            kind: other_kind.cloned().or_else(|| Kind::parse(kind).ok())?,
            content_type: owned_type(content_type),
        })
    }
}

impl Table<'_> {
    /// The rows of the entries that are wanted, by which names they have and how many entries stand before
    /// them; their data is as long as `length` says, all entries together.
    ///
    /// Column by column, since what is not wanted is passed over fastest so.
    pub(super) fn rows(
        &self,
        length: usize,
        wanted: impl Fn(usize, usize) -> bool,
    ) -> Option<Vec<Row>> {
        let all = self.entries();
        let [mut which, attributes, mut lengths, times, texts] = self.columns;
        let names = self.names.len().checked_sub(1)?;
        let mut places = self.places();
        let mut rows: Vec<Row> = Vec::new();
        for before in 0..all {
            let name = which.length(names)?;
            let data = places.next(name, lengths.number()?)?;
            if wanted(name, before) {
                let (before, which) = (u32::try_from(before).ok()?, u32::try_from(name).ok()?);
                let data = u32::try_from(data.start).ok()?..u32::try_from(data.end).ok()?;
                let time = Time::default();
                rows.push(Row { before, which, time, attributes: 0, texts: 0, data });
            }
        }
        (which.bytes.is_empty() && lengths.bytes.is_empty()).then_some(())?;
        (places.rewind()? == length as u64).then_some(())?;
        for row in &mut rows {
            let begin = u32::try_from(places.begin(row.which as usize)?).ok()?;
            row.data = begin + row.data.start..begin + row.data.end;
        }
        note_times(times, all, &mut rows)?;
        let is_none =
            attributes.bytes.len() == all && attributes.bytes.iter().all(|byte| *byte == 0);
        if is_none {
            return texts.bytes.is_empty().then_some(rows);
        }
        note_attributes(attributes, texts, all, &mut rows)?;
        Some(rows)
    }
}

/// Notes how many attributes the entries of rows have, and where their texts begin.
fn note_attributes(
    mut attributes: Input<'_>,
    mut texts: Input<'_>,
    all: usize,
    rows: &mut [Row],
) -> Option<()> {
    let all_texts = texts.bytes.len();
    let mut rows = rows.iter_mut().peekable();
    for before in 0..all {
        let count = attributes.length(ATTRIBUTES)?;
        if let Some(row) = rows.next_if(|row| row.before as usize == before) {
            row.attributes = u32::try_from(count).ok()?;
            row.texts = u32::try_from(all_texts - texts.bytes.len()).ok()?;
        }
        (0..2 * count).try_for_each(|_| texts.skip_text())?;
    }
    (attributes.bytes.is_empty() && texts.bytes.is_empty()).then_some(())
}

/// Notes the times of the entries of rows. Each number is how far it rises above the one before.
fn note_times(mut times: Input<'_>, all: usize, rows: &mut [Row]) -> Option<()> {
    let (mut time, mut added) = (0u64, 0);
    for row in rows {
        for _ in added..=row.before {
            time = time.checked_add(times.number()?)?;
        }
        added = row.before + 1;
        row.time = Time::from_bits(time)?;
    }
    (added as usize..all).try_for_each(|_| times.number().map(drop))?;
    times.bytes.is_empty().then_some(())
}
