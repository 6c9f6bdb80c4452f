//! Reads rows out of the pages of a database that SQLite can't open any more.
//!
//! It needs no header, no schema and no tree: every page that looks like a leaf of a table is taken
//! for one, in the file and in the write-ahead log beside it. What it finds may be old, or nonsense;
//! whoever uses it checks hashes and signatures. Source: <https://www.sqlite.org/fileformat2.html>.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The size of the pages of all our databases.
const PAGE: usize = 4_096;
/// The first byte of a leaf of a table.
const TABLE_LEAF: u8 = 0x0d;
/// How long the headers of the write-ahead log and of its frames are.
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;
/// The most bytes of a row that stay on its page, and the fewest when the rest moves elsewhere.
const MOST_LOCAL: usize = PAGE - 35;
const LEAST_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
/// No row of ours is longer.
const ROW_BYTES: usize = 8 << 20;

/// A column of a row, as far as salvage looks at it.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// A blob.
    Blob(Vec<u8>),
    /// A text.
    Text(String),
    /// A number of up to eight bytes.
    Number(i64),
    /// Anything else.
    Other,
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPlace {
    /// Its row id.
    pub id: i64,
    in_log: bool,
    page_at: u64,
    cell: u16,
}

/// The files of a database, as pages.
pub struct Pages {
    file: File,
    log: Option<File>,
    /// The newest frame of each page in the write-ahead log: where its page begins.
    frames: HashMap<u32, u64>,
}

impl Pages {
    /// Opens a database's file, and the write-ahead log beside it if there is one.
    ///
    /// # Errors
    /// They can't be read.
    pub fn open(path: &Path, log: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let log = match File::open(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let mut pages = Self { file, log, frames: HashMap::new() };
        if let Some(log) = &pages.log {
            for at in frames(log.metadata()?.len()) {
                let mut number = [0; 4];
                log.read_exact_at(&mut number, at - FRAME_HEADER)?;
                pages.frames.insert(u32::from_be_bytes(number), at);
            }
        }
        Ok(pages)
    }

    /// Every row of every page that looks like a leaf of a table, in order of their ids.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn rows(&self) -> io::Result<Vec<RowPlace>> {
        let mut rows = Vec::new();
        let size = self.file.metadata()?.len();
        for page_at in (0..size / PAGE as u64).map(|number| number * PAGE as u64) {
            self.rows_of(false, page_at, &mut rows)?;
        }
        if let Some(log) = &self.log {
            for page_at in frames(log.metadata()?.len()) {
                self.rows_of(true, page_at, &mut rows)?;
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    fn rows_of(&self, in_log: bool, page_at: u64, rows: &mut Vec<RowPlace>) -> io::Result<()> {
        let page = self.page(in_log, page_at)?;
        // The first page's header may be damaged, and says nothing: none of its rows is ours.
        if page[0] != TABLE_LEAF || (page_at == 0 && !in_log) {
            return Ok(());
        }
        let count = u16::from_be_bytes([page[3], page[4]]);
        for cell in 0..count {
            if let Some((_, id, _)) = cell_head(&page, cell) {
                rows.push(RowPlace { id, in_log, page_at, cell });
            }
        }
        Ok(())
    }

    /// The columns of a row; none where they make no sense. Of a long row whose rest lies on pages
    /// that the write-ahead log has newer copies of, `newest` says which are meant.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn row(&self, place: RowPlace, newest: bool) -> io::Result<Option<Vec<Value>>> {
        let page = self.page(place.in_log, place.page_at)?;
        let Some((length, _, at)) = cell_head(&page, place.cell) else { return Ok(None) };
        let local = if length <= MOST_LOCAL {
            length
        } else {
            let most = LEAST_LOCAL + (length - LEAST_LOCAL) % (PAGE - 4);
            if most <= MOST_LOCAL { most } else { LEAST_LOCAL }
        };
        let Some(start) = page.get(at..at + local) else { return Ok(None) };
        let mut payload = start.to_vec();
        let mut next = page.get(at + local..).and_then(|rest| rest.first_chunk::<4>()).copied();
        while payload.len() < length {
            let Some(page) = self.overflow(next, newest)? else { return Ok(None) };
            next = page.first_chunk::<4>().copied();
            let wanted = (length - payload.len()).min(PAGE - 4);
            payload.extend_from_slice(&page[4..4 + wanted]);
        }
        Ok(columns(&payload))
    }

    fn overflow(&self, number: Option<[u8; 4]>, newest: bool) -> io::Result<Option<Vec<u8>>> {
        let number = u32::from_be_bytes(number.unwrap_or_default());
        if let Some(at) = self.frames.get(&number).filter(|_| newest) {
            return self.page(true, *at).map(Some);
        }
        let Some(at) = number.checked_sub(1) else { return Ok(None) };
        match self.page(false, u64::from(at) * PAGE as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            page => page.map(Some),
        }
    }

    fn page(&self, in_log: bool, at: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE];
        let file = if in_log { self.log.as_ref().unwrap_or(&self.file) } else { &self.file };
        file.read_exact_at(&mut page, at)?;
        Ok(page)
    }
}

/// Where the pages of a write-ahead log of this size begin.
fn frames(size: u64) -> impl Iterator<Item = u64> {
    let frame = FRAME_HEADER + PAGE as u64;
    let count = size.saturating_sub(LOG_HEADER) / frame;
    (0..count).map(move |number| LOG_HEADER + number * frame + FRAME_HEADER)
}

/// The length of a cell's row, its id, and where it begins on the page.
fn cell_head(page: &[u8], cell: u16) -> Option<(usize, i64, usize)> {
    let pointer = page.get(8 + 2 * usize::from(cell)..)?.first_chunk::<2>()?;
    let mut rest = page.get(usize::from(u16::from_be_bytes(*pointer))..)?;
    let length = usize::try_from(varint(&mut rest)?).ok().filter(|length| *length <= ROW_BYTES)?;
    let id = varint(&mut rest)? as i64;
    Some((length, id, page.len() - rest.len()))
}

/// The columns of a row.
fn columns(payload: &[u8]) -> Option<Vec<Value>> {
    let mut head = payload;
    let length = usize::try_from(varint(&mut head)?).ok()?;
    let mut body = payload.get(length..)?;
    let mut head = payload.get(payload.len() - head.len()..length)?;
    let mut values = Vec::new();
    while !head.is_empty() {
        let kind = varint(&mut head)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((kind - 12) / 2).ok()?,
            _ => return None,
        };
        let (value, rest) = body.split_at_checked(size)?;
        values.push(match kind {
            1..=6 | 8 | 9 => Value::Number(number(kind, value)),
            12.. if kind.is_multiple_of(2) => Value::Blob(value.to_vec()),
            13.. => {
                std::str::from_utf8(value).map_or(Value::Other, |text| Value::Text(text.into()))
            }
            _ => Value::Other,
        });
        body = rest;
    }
    Some(values)
}

/// A number in a column: two kinds stand for 0 and 1, all others are big-endian.
fn number(kind: u64, bytes: &[u8]) -> i64 {
    match kind {
        8 => 0,
        9 => 1,
        _ => {
            let sign = bytes.first().map_or(0, |first| i64::from(*first as i8) >> 7);
            bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))
        }
    }
}

/// A number of one to nine bytes.
fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..9 {
        let byte = *input.get(at)?;
        if at == 8 {
            *input = &input[9..];
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}
