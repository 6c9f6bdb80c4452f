//! Archives: segments as files that outlive their place in the store.
//!
//! A segment is two files: an Automerge document with nothing but its changes, which any Automerge
//! program opens, and beside it, in JSON, what of it the document doesn't say: its place in the log and
//! its author's signature of the last change. As Automerge's hashes chain all changes to the last one,
//! that signature vouches for the whole document.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::{self, DirectoryError};
use super::filter::Filter;
use crate::core::change::{Change, Chunk, Place, SignedRun};
use crate::core::document::{self, Document, DocumentError};
use crate::core::log::Arrival;
use crate::core::merge::Direction;
use crate::store::pruning::Finished;
use crate::store::{Reader, StoreError};
use crate::words::{ChangeHash, ClusterId, Entry, NodeId, Offset, SegmentId, Seq, Signature};

/// How the name of a document ends, and that of what stands beside it.
const DOCUMENT: &str = "automerge";
const BESIDE: &str = "json";
/// Others may read what their own programs are to open.
const FILE_MODE: u32 = 0o644;
/// How many bytes of changes are read at once.
const READ_BYTES: usize = 1 << 20;

/// Says why a segment was not written, or what was written can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The changes don't make a document, or it can't be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file can't be written or read; one that can't be written whole is not there.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A segment has no signed end, so nothing would vouch for the file.
    #[error("no signature vouches for the end of segment {0}")]
    Unsigned(SegmentId),
    /// What a file holds is not what its author signed.
    #[error("{}: {what}", path.display())]
    Bad {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// What stands beside a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The cluster.
    pub cluster: ClusterId,
    /// Who wrote the segment.
    pub author: NodeId,
    /// The segment.
    pub segment: SegmentId,
    /// The seq of its first entry.
    pub first_seq: Seq,
    /// The seq after its last entry.
    pub next_seq: Seq,
    /// How many changes it has.
    pub changes: u32,
    /// The hash of the last one.
    pub hash: ChangeHash,
    /// Its author's signature of that, in hex digits.
    #[serde(with = "digits")]
    pub signature: Signature,
}

/// A signature as hex digits.
mod digits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::words::Signature;

    pub fn serialize<S: Serializer>(signature: &Signature, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(signature.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(Signature(bytes))
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// How many segments are there now.
    pub segments: u64,
    /// How many of them were not before.
    pub new: u64,
    /// How many entries they hold.
    pub entries: u64,
}

/// Writes all finished segments that are not there yet.
///
/// # Errors
/// See [`ArchiveError`]. What was written before stays, and is not written again.
pub fn write_all(
    reader: &mut dyn Reader,
    directory: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, ArchiveError> {
    let finished = reader.finished()?;
    let mut written = Written::default();
    for segment in &finished {
        written.new += u64::from(write(reader, segment, directory)?);
        written.segments += 1;
        written.entries += segment.entries();
        progress(written.segments, finished.len() as u64);
    }
    Ok(written)
}

/// Writes a segment, synced to disk, if it is not there yet. Returns whether it was not.
///
/// # Errors
/// See [`ArchiveError`]. A file that could not be written whole is not there.
pub fn write(
    reader: &mut dyn Reader,
    segment: &Finished,
    directory: &Path,
) -> Result<bool, ArchiveError> {
    let of_author = directory.join(segment.author.to_string());
    let name = format!("{:020}-{}", segment.first_seq.0, segment.strand.segment);
    let beside = of_author.join(&name).with_extension(BESIDE);
    if beside.exists() {
        return Ok(false);
    }
    fs::create_dir_all(&of_author).map_err(directory::failed("make", &of_author))?;
    let mut document = Document::new()?;
    let mut last: Option<Change> = None;
    let mut failed = None;
    read_segment(reader, segment, |_, arrival| {
        failed = document.add(&arrival.change).err();
        last = Some(arrival.change.clone());
        Ok(failed.is_none())
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let unsigned = || ArchiveError::Unsigned(segment.strand.segment);
    let last = last.filter(|last| last.next_seq() == segment.next_seq).ok_or_else(unsigned)?;
    let said = Beside {
        cluster: reader.owner().cluster,
        author: segment.author,
        segment: segment.strand.segment,
        first_seq: segment.first_seq,
        next_seq: segment.next_seq,
        changes: last.index + 1,
        hash: last.hash,
        signature: last.signature.ok_or_else(unsigned)?,
    };
    let text = serde_json::to_vec_pretty(&said).expect("texts and numbers are always JSON");
    let path = of_author.join(&name).with_extension(DOCUMENT);
    // What stands beside comes last: a document without it is one that was not finished.
    directory::replace(&path, &document.save()?, FILE_MODE)?;
    directory::replace(&beside, &text, FILE_MODE)?;
    Ok(true)
}

/// All changes of a segment, some at a time.
pub(super) fn read_segment(
    reader: &mut dyn Reader,
    segment: &Finished,
    mut take: impl FnMut(&mut dyn Reader, &Arrival) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut at = segment.first_seq;
    while at < segment.next_seq {
        let arrivals = reader.of_strand(segment.strand, at, Direction::Forward, READ_BYTES)?;
        let Some(last) = arrivals.last() else { return Ok(()) };
        at = last.change.next_seq();
        for arrival in &arrivals {
            if !take(reader, arrival)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether a path is an archive: a directory in which nodes' segments lie, or one document.
pub fn is_archive(path: &Path) -> bool {
    !files(path).unwrap_or_default().is_empty()
}

/// The documents of an archive, by author in order of seq.
///
/// # Errors
/// A directory can't be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let is_document = |path: &Path| path.extension().is_some_and(|it| it == DOCUMENT);
    if path.is_file() {
        return Ok(if is_document(path) { vec![path.to_owned()] } else { Vec::new() });
    }
    let list = |path: &Path| -> Result<Vec<PathBuf>, ArchiveError> {
        let all = fs::read_dir(path).map_err(directory::failed("read", path))?;
        let all: Result<Vec<_>, _> = all.map(|entry| entry.map(|entry| entry.path())).collect();
        Ok(all.map_err(directory::failed("read", path))?)
    };
    let mut found = Vec::new();
    for of_author in list(path)?.into_iter().filter(|path| path.is_dir()) {
        let is_author = of_author.file_name().and_then(|name| name.to_str());
        if is_author.is_some_and(|name| name.parse::<NodeId>().is_ok()) {
            found.extend(list(&of_author)?.into_iter().filter(|path| is_document(path)));
        }
    }
    found.extend(list(path)?.into_iter().filter(|path| path.is_file() && is_document(path)));
    found.sort();
    Ok(found)
}

/// Reads a segment from its document, and checks it against what its author signed.
///
/// # Errors
/// See [`ArchiveError`].
pub fn read(path: &Path) -> Result<(Beside, Vec<Change>), ArchiveError> {
    let beside = path.with_extension(BESIDE);
    let bad = |what: String| ArchiveError::Bad { path: path.to_owned(), what };
    let text = fs::read(&beside).map_err(directory::failed("read", &beside))?;
    let said: Beside = serde_json::from_slice(&text)
        .map_err(|e| ArchiveError::Bad { path: beside.clone(), what: e.to_string() })?;
    let saved = fs::read(path).map_err(directory::failed("read", path))?;
    if !said.author.is_sound() || !said.author.verify(said.cluster, said.hash, &said.signature) {
        return Err(bad("the signature beside it is not its author's".into()));
    }
    let changes = chain(&saved, &said).map_err(bad)?;
    Ok((said, changes))
}

/// The changes of a document, checked like those that a peer sends: each is built once more from nothing
/// but its entries and its place, and the last one must be what the author signed.
fn chain(saved: &[u8], said: &Beside) -> Result<Vec<Change>, String> {
    let (mut link, mut entries) = (None, Vec::new());
    for (hash, bytes) in document::chain(saved, said.hash).map_err(|e| e.to_string())? {
        let chunk = Chunk::open(&bytes, hash).map_err(|e| e.to_string())?;
        if link.is_none() {
            link = Some(chunk.link().map_err(|e| e.to_string())?);
        }
        entries.push(chunk.shared_entries());
    }
    let Beside { author, segment, first_seq, signature, .. } = *said;
    let link = link.ok_or("it holds no change")?;
    let place = Place { author, segment, segment_seq: first_seq, index: 0, first_seq, link };
    let run = SignedRun { place, changes: entries, signature };
    let changes = run.verify(said.cluster).map_err(|e| e.to_string())?;
    let end = changes.last().map(|last| (last.next_seq(), last.hash, last.index + 1));
    match end == Some((said.next_seq, said.hash, said.changes)) {
        true => Ok(changes),
        false => Err("it is not the segment that it is said to be".into()),
    }
}

/// The entries of a document that pass a filter, in order of seq; it is verified first. They have no
/// place in an order of arrival.
///
/// # Errors
/// See [`ArchiveError`].
pub fn entries(path: &Path, filter: &Filter) -> Result<Vec<Entry>, ArchiveError> {
    let (_, changes) = read(path)?;
    let mut entries = Vec::new();
    for change in changes {
        let arrival = Arrival { offset: Offset(0), skew: false, side: 0, change };
        entries.extend(filter.all_entries(&arrival)?);
    }
    Ok(entries)
}

/// One document of all segments, or of those of one author; each is verified first.
///
/// # Errors
/// See [`ArchiveError`].
pub fn document(path: &Path, author: Option<NodeId>) -> Result<Vec<u8>, ArchiveError> {
    let mut document = Document::new()?;
    for file in files(path)? {
        let (said, changes) = read(&file)?;
        if author.is_none_or(|author| author == said.author) {
            changes.iter().try_for_each(|change| document.add(change))?;
        }
    }
    Ok(document.save()?)
}

/// What was found in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Changes.
    pub changes: u64,
    /// Segments.
    pub segments: u64,
    /// Signatures: one for each segment.
    pub signatures: u64,
}

/// Verifies an archive: every document against its author's signature. `progress` is told how many of
/// how many segments are done.
///
/// # Errors
/// The first file that is not what its author signed, or can't be read.
pub fn verify(path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Checked, ArchiveError> {
    let files = files(path)?;
    let mut checked = Checked::default();
    for file in &files {
        let (said, changes) = read(file)?;
        checked.entries += said.next_seq.0 - said.first_seq.0;
        checked.changes += changes.len() as u64;
        checked.segments += 1;
        checked.signatures += 1;
        progress(checked.segments, files.len() as u64);
    }
    Ok(checked)
}
