//! What archiving a topic up to an ordinal means: of whom, which entries.

use std::collections::BTreeMap;

use super::series::each;
use crate::core::archive::Cut;
use crate::core::merge::Direction;
use crate::core::series::{Series, Standing, Stretch};
use crate::store::{Reader, StoreError};
use crate::words::{Draft, NameError, NodeId, Seq, Tenant, Topic};

/// How many stretches are looked at once.
const LOOKED_AT: usize = 1_024;

/// What archiving up to an ordinal means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archiving {
    /// How many entries are archived by it that were not before.
    pub count: u64,
    /// Of whom, up to which seq.
    pub through: BTreeMap<NodeId, Seq>,
}

impl Archiving {
    /// The statement that archives it; none when there is nothing to be archived.
    ///
    /// # Errors
    /// None in practice: a topic's statement is well-formed.
    pub fn statement(self, tenant: Tenant, topic: Topic) -> Result<Option<Draft>, NameError> {
        match self.count {
            0 => Ok(None),
            _ => Cut::new(tenant, topic, self.through).draft().map(Some),
        }
    }
}

/// Finds what is to be archived so that reading begins above an ordinal.
///
/// # Errors
/// The store can't be read.
pub fn archiving(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    watermark: u64,
) -> Result<Archiving, StoreError> {
    let mut found = Archiving::default();
    let mut at = standing.hidden;
    while at < watermark {
        let stretches = reader.stretches(series, at + 1, Direction::Forward, LOOKED_AT)?;
        if stretches.is_empty() {
            break;
        }
        for stretch in stretches.iter().filter(|stretch| stretch.before < watermark) {
            add(reader, (series, standing), stretch, watermark, &mut found)?;
        }
        at = stretches.last().map_or(watermark, Stretch::end);
    }
    Ok(found)
}

/// How many entries of a series up to an ordinal are not archived.
///
/// # Errors
/// The store can't be read.
pub fn live(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    ordinal: u64,
) -> Result<u64, StoreError> {
    if standing.archived.is_empty() {
        return Ok(ordinal);
    }
    // What archiving would archive is what is not.
    Ok(archiving(reader, (series, standing), ordinal)?.count)
}

/// Adds the entries of a stretch up to an ordinal that are not archived yet.
fn add(
    reader: &mut dyn Reader,
    (series, standing): (&Series, &Standing),
    stretch: &Stretch,
    watermark: u64,
    found: &mut Archiving,
) -> Result<(), StoreError> {
    if standing.is_all_archived(stretch) {
        return Ok(());
    }
    if stretch.end() <= watermark && !standing.is_any_archived(stretch) {
        found.count += u64::from(stretch.count);
        raise(found, stretch.author, Seq(stretch.next_seq.0.saturating_sub(1)));
        return Ok(());
    }
    let read = reader.of_series(series, stretch.before + 1, Direction::Forward, 1)?;
    for (stretch, arrival) in read.iter().take(1) {
        each(series, stretch, arrival, |ordinal, _, seq, _| {
            if ordinal <= watermark && !standing.is_archived(stretch.author, seq) {
                found.count += 1;
                raise(found, stretch.author, seq);
            }
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}

fn raise(found: &mut Archiving, author: NodeId, seq: Seq) {
    let through = found.through.entry(author).or_insert(seq);
    *through = seq.max(*through);
}
