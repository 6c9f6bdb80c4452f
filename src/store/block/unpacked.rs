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

use super::{Damaged, Input, Names, Stand, Table};
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
    pub(super) fn rows(
        &self,
        length: usize,
        mut wanted: impl FnMut(usize, usize) -> bool,
    ) -> Option<Vec<Row>> {
        let [mut which, mut attributes, mut lengths, mut times, mut texts] = self.columns;
        let all_texts = texts.bytes.len();
        let (mut time, mut at, mut rows) = (0_u64, 0_usize, Vec::new());
        for before in 0..self.counts.iter().sum::<usize>() {
            let name = which.length(self.names.len().checked_sub(1)?)?;
            time = time.checked_add(times.number()?)?;
            let count = attributes.length(ATTRIBUTES)?;
            let end = at.checked_add(lengths.length(length)?)?;
            if wanted(name, before) {
                let number = |number: usize| u32::try_from(number).ok();
                rows.push(Row {
                    before: number(before)?,
                    which: number(name)?,
                    time: Time::from_bits(time)?,
                    attributes: number(count)?,
                    texts: number(all_texts - texts.bytes.len())?,
                    data: number(at)?..number(end)?,
                });
            }
            (0..2 * count).try_for_each(|_| texts.skip_text())?;
            at = end;
        }
        let columns = [which, attributes, lengths, times, texts];
        (at == length && columns.iter().all(|column| column.bytes.is_empty())).then_some(rows)
    }
}
