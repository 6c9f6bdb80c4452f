//! The room that followers take for what they have read ahead.

use tokio::sync::{Semaphore, SemaphorePermit};

/// What a follower may keep in any case, in bytes; one entry at least.
const KEPT_BYTES: usize = 8 << 10;
/// How many KiB of entries the followers of this process keep beyond that, whatever node they are of.
static KEPT_KIB: Semaphore = Semaphore::const_new(64 << 10); // full: the rest is read again

/// The room of what a follower keeps, until it is dropped.
#[derive(Default)]
pub struct Kept {
    _permit: Option<SemaphorePermit<'static>>,
}

impl Kept {
    /// Room for entries of these sizes in bytes, or for as many of them as there is room for: one at
    /// least.
    pub fn room(sizes: impl Iterator<Item = usize> + Clone) -> (Self, usize) {
        let bytes: usize = sizes.clone().sum();
        if bytes <= KEPT_BYTES {
            return (Self::default(), sizes.count());
        }
        if let Ok(permit) = KEPT_KIB.try_acquire_many(bytes.div_ceil(1 << 10) as u32) {
            return (Self { _permit: Some(permit) }, sizes.count());
        }
        let mut kept = 0;
        let fits = sizes.take_while(|size| {
            kept += size;
            kept <= KEPT_BYTES
        });
        (Self::default(), fits.count().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_takes_no_room_and_much_what_there_is() {
        let (_little, count) = Kept::room([KEPT_BYTES / 2; 2].into_iter());
        assert_eq!(count, 2);
        let mut all = Vec::new();
        loop {
            let (room, count) = Kept::room([1 << 20; 4].into_iter());
            if room._permit.is_none() {
                assert_eq!(count, 1, "one is kept in any case");
                break;
            }
            all.push(room);
        }
        assert!(all.len() <= 16, "{}", all.len());
        let (_few, count) = Kept::room([KEPT_BYTES / 3; 8].into_iter());
        assert_eq!(count, 3, "what is little is kept");
        all.clear();
        assert_eq!(Kept::room([1 << 20; 4].into_iter()).1, 4);
    }
}
