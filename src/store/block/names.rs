//! What a block says of its entries' names, without opening it: they lie beside the data, so the data is
//! not unpacked for them.

use super::{BlockOpener, CHECKSUM, Input, Stand, is_whole, split_link, split_packed};
use crate::words::limits::CHANGE_ENTRIES;

impl BlockOpener {
    /// The distinct kinds of a block's entries. None when the record is not as it was sealed.
    pub fn kinds(&mut self, record: &[u8], stand: &Stand<'_>) -> Option<Vec<String>> {
        is_whole(record, stand).then_some(())?;
        let (_, packed) = split_link(&record[..record.len() - CHECKSUM], stand.opening)?;
        let [beside, _] = split_packed(packed)?;
        let beside = self.unpack_part(beside)?;
        let mut input = Input { bytes: &beside };
        for _ in 0..input.length(beside.len())? {
            input.length(CHANGE_ENTRIES)?;
        }
        let distinct = input.length(beside.len())?;
        let mut kinds: Vec<String> = Vec::new();
        for _ in 0..distinct {
            let [_, _, kind, _] = [input.text()?, input.text()?, input.text()?, input.text()?];
            if !kinds.iter().any(|known| known == kind) {
                kinds.push(kind.to_owned());
            }
        }
        Some(kinds)
    }
}
