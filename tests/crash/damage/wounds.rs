//! Ways in which a disk, or a person, damages files.

use fastrand::Rng;

use crate::history::STORE;
use crate::platter::Image;

const PAGE: usize = 4_096;

/// The write-ahead log's name.
pub const WAL: &str = "log.sqlite-wal";

/// One damage to the files of a store.
#[derive(Clone, Debug)]
pub enum Wound {
    None,
    /// A bit of a file is another one.
    Flip {
        file: &'static str,
        at: usize,
        bit: u8,
    },
    /// A page of the file is zeros.
    Zeros {
        page: usize,
    },
    /// A page of the file lies where another one should.
    Misplaced {
        from: usize,
        to: usize,
    },
    /// A page of the file is noise.
    Noise {
        page: usize,
        seed: u64,
    },
    /// A file ends early.
    Short {
        file: &'static str,
        size: usize,
    },
    /// A file is gone.
    Gone {
        file: &'static str,
    },
}

impl Wound {
    /// A bit of a file of this size.
    pub fn flip(file: &'static str, size: usize, rng: &mut Rng) -> Self {
        Self::Flip { file, at: rng.usize(..size), bit: rng.u8(..8) }
    }

    /// Something that befalls a page of a file of this size.
    pub fn page(size: usize, rng: &mut Rng) -> Self {
        let pages = size / PAGE;
        match rng.u8(..3) {
            0 => Self::Zeros { page: rng.usize(..pages) },
            1 => Self::Misplaced { from: rng.usize(..pages), to: rng.usize(..pages) },
            _ => Self::Noise { page: rng.usize(..pages), seed: rng.u64(..) },
        }
    }

    /// The files with this damage.
    pub fn inflict(&self, image: &Image) -> Image {
        let mut image = image.clone();
        match *self {
            Self::None => {}
            Self::Flip { file, at, bit } => image.file_mut(file)[at] ^= 1 << bit,
            Self::Zeros { page } => image.file_mut(STORE)[page_range(page)].fill(0),
            Self::Misplaced { from, to } => {
                image.file_mut(STORE).copy_within(page_range(from), to * PAGE);
            }
            Self::Noise { page, seed } => {
                Rng::with_seed(seed).fill(&mut image.file_mut(STORE)[page_range(page)]);
            }
            Self::Short { file, size } => image.file_mut(file).truncate(size),
            Self::Gone { file } => image.remove(file),
        }
        image
    }
}

fn page_range(page: usize) -> std::ops::Range<usize> {
    page * PAGE..(page + 1) * PAGE
}
