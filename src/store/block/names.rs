//! What a block says of its entries' names, without opening it: they lie beside the data, so the data is
//! not unpacked for them.

use super::pick::parts;
use super::table::Table;
use super::{BlockOpener, Stand};

impl BlockOpener {
    /// The distinct kinds of a block's entries. None when the record is not as it was sealed.
    pub fn kinds(&mut self, record: &[u8], stand: &Stand<'_>) -> Option<Vec<String>> {
        let ([beside, _], layout) = parts(record, stand).ok()?;
        let beside = self.unpacker.part(beside)?;
        let table = Table::read(&beside, layout, &stand.seqs())?;
        let mut kinds: Vec<String> = Vec::new();
        for [_, _, kind, _] in table.names {
            if !kinds.iter().any(|known| known == kind) {
                kinds.push(kind.to_owned());
            }
        }
        Some(kinds)
    }
}
