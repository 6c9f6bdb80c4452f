//! The virtual table `entries`: what of a statement's conditions and order is handed on to the
//! listing, and how an entry becomes a row.
//!
//! A condition that is handed on makes the listing shorter; SQLite looks at it again. So it is only
//! handed on when every row that meets it is still listed.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error, ffi};

use super::super::super::StoreError;
use crate::core::merge::Direction;
use crate::words::{Entry, EntryId, Gap, NodeId, Offset, Seq, Time};

/// The columns, in order of their numbers below.
const TABLE: &CStr = c"CREATE TABLE entries (author TEXT, seq INTEGER, id TEXT, time TEXT,
    hlc INTEGER, \"offset\" INTEGER, tenant TEXT, topic TEXT, kind TEXT, attributes TEXT, data,
    content_type TEXT, change TEXT, segment TEXT, skew INTEGER, forked INTEGER, gap_from INTEGER,
    gap_to INTEGER, gap_count INTEGER, gap_reason TEXT, gap_exact INTEGER)";

const AUTHOR: c_int = 0;
const SEQ: c_int = 1;
const ID: c_int = 2;
const TIME: c_int = 3;
const HLC: c_int = 4;
const OFFSET: c_int = 5;
const TENANT: c_int = 6;
const TOPIC: c_int = 7;
const KIND: c_int = 8;

/// A time as it is printed, from the first one that there is.
const FIRST_TIME: &str = "1970-01-01T00:00:00.000Z";

/// Which entries a statement wants; more may be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// This one.
    pub id: Option<EntryId>,
    /// Of this author.
    pub author: Option<NodeId>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// At or after this time.
    pub since: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
    /// With such offsets.
    pub offsets: Range<Offset>,
    /// With such seqs.
    pub seqs: Range<Seq>,
    /// In this order.
    pub order: Listed,
    /// None at all: no entry can meet the conditions.
    pub nothing: bool,
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// By time, author and seq.
    Merged(Direction),
    /// By offset.
    Arrival(Direction),
}

/// Lists entries, one listing after the other.
pub trait Listing {
    /// Begins a listing.
    ///
    /// # Errors
    /// The log can't be read; so for every call here.
    fn list(&mut self, wanted: &Wanted) -> Result<(), StoreError>;

    /// The next entry; none at the end.
    ///
    /// # Errors
    /// The log can't be read.
    fn next_entry(&mut self) -> Result<Option<Entry>, StoreError>;
}

/// Opens what lists entries; each place of a statement that names the table has one of its own.
pub type ListingOpener = Arc<dyn Fn() -> Result<Box<dyn Listing>, StoreError> + Send + Sync>;

/// The table.
#[repr(C)]
pub(super) struct EntriesTable {
    /// What SQLite needs; must be first.
    base: sqlite3_vtab,
    opener: ListingOpener,
}

/// One reading of the table.
#[repr(C)]
pub(super) struct EntriesCursor<'t> {
    /// What SQLite needs; must be first.
    base: sqlite3_vtab_cursor,
    listing: Box<dyn Listing>,
    entry: Option<Entry>,
    gap: Option<Gap>,
    table: PhantomData<&'t EntriesTable>,
}

impl EntriesTable {
    pub(super) fn register(connection: &Connection, opener: ListingOpener) -> Result<(), Error> {
        const MODULE: Module<'static, EntriesTable> = Module::eponymous_only_module();
        connection.create_module(c"entries", &MODULE, Some(opener))
    }
}

// SAFETY: the struct is `repr(C)` and begins with SQLite's own.
unsafe impl<'t> VTab<'t> for EntriesTable {
    type Aux = ListingOpener;
    type Cursor = EntriesCursor<'t>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self), Error> {
        let opener = aux.cloned().ok_or_else(|| Error::ModuleError("no listing".into()))?;
        db.config(VTabConfig::Innocuous)?;
        Ok((Cow::Borrowed(TABLE), Self { base: sqlite3_vtab::default(), opener }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool, Error> {
        let mut plan = String::new();
        let usable: Vec<(usize, c_int, char)> = info
            .constraints()
            .enumerate()
            .filter(|(_, constraint)| constraint.is_usable())
            .filter_map(|(at, constraint)| {
                Some((at, constraint.column(), operator(constraint.operator())?))
            })
            .filter(|(_, column, operator)| is_handed_on(*column, *operator))
            .collect();
        for (at, column, operator) in &usable {
            // Another collation calls equal, or orders, what the listing would tell apart.
            if info.collation(*at)? != "BINARY" {
                continue;
            }
            plan.push_str(&format!("{column}{operator}"));
            let argument = plan.chars().filter(|c| !c.is_ascii_digit()).count();
            info.constraint_usage(*at).set_argv_index(argument as c_int);
        }
        let has = |column: c_int| plan.contains(&format!("{column}="));
        let bounded = |column: c_int| usable.iter().any(|(_, of, _)| *of == column);
        // What is found by id or seq is listed by seq.
        let by_seq = has(ID) || (has(AUTHOR) && bounded(SEQ));
        let selective = has(TOPIC) || has(TENANT) || bounded(TIME) || bounded(HLC);
        let order = wanted_order(info, selective);
        let (number, consumed) = order.unwrap_or((c_int::from(bounded(OFFSET)) * 2, false));
        info.set_idx_num(number);
        info.set_order_by_consumed(consumed && !by_seq);
        let found = has(ID) || (has(AUTHOR) && has(SEQ));
        let mut rows: f64 = if found { 1.0 } else { 1e7 };
        for (column, share) in [(TOPIC, 1e-3), (AUTHOR, 0.1), (KIND, 0.3), (TENANT, 0.5)] {
            rows *= if has(column) { share } else { 1.0 };
        }
        for column in [TIME, HLC, OFFSET] {
            rows *= if bounded(column) { 0.1 } else { 1.0 };
        }
        info.set_estimated_cost(rows);
        info.set_estimated_rows(rows.max(1.0) as i64);
        info.set_idx_str(&plan);
        Ok(true)
    }

    fn open(&'t mut self) -> Result<EntriesCursor<'t>, Error> {
        Ok(EntriesCursor {
            base: sqlite3_vtab_cursor::default(),
            listing: (self.opener)().map_err(damaged)?,
            entry: None,
            gap: None,
            table: PhantomData,
        })
    }
}

fn operator(operator: IndexConstraintOp) -> Option<char> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some('='),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some('>'),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(']'),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some('<'),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some('['),
        _ => None,
    }
}

fn is_handed_on(column: c_int, operator: char) -> bool {
    match column {
        AUTHOR | ID | TENANT | TOPIC | KIND => operator == '=',
        SEQ | TIME | HLC | OFFSET => true,
        _ => false,
    }
}

/// Which listing has the order that is asked for, and whether SQLite need not sort it. A listing by
/// offset reads the log from end to end, so it is none where conditions name a small part of it.
fn wanted_order(info: &IndexInfo, selective: bool) -> Option<(c_int, bool)> {
    let orders: Vec<(c_int, bool)> =
        info.order_bys().map(|by| (by.column(), by.is_order_by_desc())).collect();
    let &(first, backward) = orders.first()?;
    let same = orders.iter().all(|(_, desc)| *desc == backward);
    let columns: Vec<c_int> = orders.iter().map(|(column, _)| *column).collect();
    match &columns[..] {
        [OFFSET, ..] if !selective => Some((2 + c_int::from(backward), true)),
        [TIME] | [HLC] => Some((c_int::from(backward), true)),
        [HLC, AUTHOR] | [HLC, AUTHOR, SEQ] if same => Some((c_int::from(backward), true)),
        _ if first == TIME || first == HLC => Some((c_int::from(backward), false)),
        _ => None,
    }
}

// SAFETY: the struct is `repr(C)` and begins with SQLite's own.
unsafe impl VTabCursor for EntriesCursor<'_> {
    fn filter(
        &mut self,
        number: c_int,
        plan: Option<&str>,
        arguments: &Filters<'_>,
    ) -> Result<(), Error> {
        let direction = if number & 1 == 0 { Direction::Forward } else { Direction::Backward };
        let order =
            if number & 2 == 0 { Listed::Merged(direction) } else { Listed::Arrival(direction) };
        let mut wanted = Wanted::all(order);
        for (condition, value) in conditions(plan.unwrap_or_default()).zip(arguments.iter()) {
            wanted.narrow(condition, value);
        }
        self.listing.list(&wanted).map_err(damaged)?;
        self.next()
    }

    fn next(&mut self) -> Result<(), Error> {
        self.entry = self.listing.next_entry().map_err(damaged)?;
        self.gap = self.entry.as_ref().and_then(Gap::from_entry);
        Ok(())
    }

    fn eof(&self) -> bool {
        self.entry.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<(), Error> {
        let Some(entry) = &self.entry else { return Ok(()) };
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (body, gap) = (&entry.body, self.gap.as_ref());
        match column {
            AUTHOR => context.set_result(entry.author.to_string()),
            SEQ => context.set_result(number(entry.seq.0)),
            ID => context.set_result(entry.id().to_string()),
            TIME => context.set_result(entry.time.to_string()),
            HLC => context.set_result(number(entry.time.bits())),
            OFFSET => context.set_result(number(entry.offset.0)),
            TENANT => context.set_result(body.tenant.as_str()),
            TOPIC => context.set_result(body.topic.as_str()),
            KIND => context.set_result(body.kind.as_str()),
            9 => context.set_result(serde_json::to_string(&body.attributes).unwrap_or_default()),
            10 => match std::str::from_utf8(&body.data) {
                Ok(_) => context.set_result(ToSqlOutput::Borrowed(ValueRef::Text(&body.data))),
                Err(_) => context.set_result(&body.data[..]),
            },
            11 => context.set_result(&*body.content_type),
            12 => context.set_result(entry.change.to_string()),
            13 => context.set_result(entry.segment.to_string()),
            14 => context.set_result(entry.skew),
            15 => context.set_result(entry.forked),
            16 => context.set_result(gap.map(|gap| number(gap.from.0))),
            17 => context.set_result(gap.map(|gap| number(gap.to.0))),
            18 => context.set_result(gap.map(|gap| number(gap.count))),
            19 => context.set_result(gap.map(|gap| gap.reason.word())),
            20 => context.set_result(gap.map(|gap| gap.exact)),
            _ => Ok(()),
        }
    }

    fn rowid(&self) -> Result<i64, Error> {
        let offset = self.entry.as_ref().map_or(0, |entry| entry.offset.0);
        Ok(i64::try_from(offset).unwrap_or(i64::MAX))
    }
}

/// What SQLite is told when the log can't be read.
fn damaged(error: StoreError) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(error.to_string()))
}

/// The columns and operators of a plan.
fn conditions(plan: &str) -> impl Iterator<Item = (c_int, char)> {
    plan.split_inclusive(|c: char| !c.is_ascii_digit()).filter_map(|condition| {
        let operator = condition.chars().next_back()?;
        Some((condition.trim_end_matches(operator).parse().ok()?, operator))
    })
}

impl Wanted {
    /// Everything.
    fn all(order: Listed) -> Self {
        Self {
            id: None,
            author: None,
            tenant: None,
            topic: None,
            kind: None,
            since: None,
            until: None,
            offsets: Offset(0)..Offset(u64::MAX),
            seqs: Seq(0)..Seq(u64::MAX),
            order,
            nothing: false,
        }
    }

    /// Leaves out what doesn't meet a condition. What can't be understood leaves out nothing: SQLite
    /// has ideas of its own of how values of two types compare.
    fn narrow(&mut self, (column, operator): (c_int, char), value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.nothing = true,
            ValueRef::Integer(number) => self.narrow_number(column, operator, number),
            ValueRef::Text(text) => {
                if let Ok(text) = std::str::from_utf8(text) {
                    self.narrow_text(column, operator, text);
                }
            }
            ValueRef::Real(_) | ValueRef::Blob(_) => {}
        }
    }

    fn narrow_number(&mut self, column: c_int, operator: char, number: i64) {
        let low = u64::try_from(number).unwrap_or(0);
        let next = u64::try_from(number.saturating_add(1)).unwrap_or(0);
        let from = match operator {
            '=' | ']' => low,
            '>' => next,
            _ => 0,
        };
        let to = match operator {
            '=' | '[' => next,
            '<' => low,
            _ => u64::MAX,
        };
        match column {
            SEQ => {
                self.seqs = self.seqs.start.max(Seq(from))..self.seqs.end.min(Seq(to));
            }
            OFFSET => {
                let offsets = &self.offsets;
                self.offsets = offsets.start.max(Offset(from))..offsets.end.min(Offset(to));
            }
            HLC => self.narrow_time(Time::from_bits(from), Time::from_bits(to)),
            _ => {}
        }
    }

    fn narrow_text(&mut self, column: c_int, operator: char, text: &str) {
        match column {
            AUTHOR => match text.parse() {
                Ok(author) => self.author = Some(author),
                Err(_) => self.nothing = true,
            },
            ID => match text.parse() {
                Ok(id) => self.id = Some(id),
                Err(_) => self.nothing = true,
            },
            TENANT => self.tenant = Some(text.to_owned()),
            TOPIC => self.topic = Some(text.to_owned()),
            KIND => self.kind = Some(text.to_owned()),
            TIME => {
                let Some((first, last)) = printed_times(text) else { return };
                let from = matches!(operator, '=' | '>' | ']').then(|| Time::from_millis(first));
                let next = last.saturating_add(1);
                let to = matches!(operator, '=' | '<' | '[').then(|| Time::from_millis(next));
                self.narrow_time(from, to);
            }
            _ => {}
        }
    }

    fn narrow_time(&mut self, since: Option<Time>, until: Option<Time>) {
        self.since = self.since.max(since);
        self.until = match (self.until, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// Between which milliseconds the times of the column change from those before a text to those after
/// it, as texts, when it is such a time or begins one; any other text says nothing of times.
///
/// A text that ends in whole seconds and a `Z` comes after all milliseconds of its second.
fn printed_times(text: &str) -> Option<(u64, u64)> {
    let (start, span) = match text.strip_suffix('Z') {
        Some(start) if start.len() == 19 => (start, 999),
        _ => (text, 0),
    };
    let whole = [4, 7, 10, 13, 16, 19, 23, 24].contains(&start.len());
    let rest = FIRST_TIME.get(start.len()..).filter(|_| whole)?;
    let shaped = start.chars().zip(FIRST_TIME.chars()).all(|(found, shape)| {
        if shape.is_ascii_digit() { found.is_ascii_digit() } else { found == shape }
    });
    let time = shaped.then(|| format!("{start}{rest}").parse::<jiff::Timestamp>().ok())??;
    let first = u64::try_from(time.as_millisecond()).ok()?;
    Some((first, first + span))
}

#[cfg(test)]
mod tests;
