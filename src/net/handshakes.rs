//! Handshakes that others have begun and that are not done: how many there may be, and of whom.
//!
//! A sender's address can be forged. Whoever forges one can't answer what is sent there, so above a
//! small number an address must prove itself first, and forged ones never take more than that. An
//! address that has proved itself gets a share, so one machine can't take all places either.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// How many handshakes may be half done.
pub(super) const HALF_OPEN: usize = 512; // full: further ones are refused
/// Above so many half-done handshakes an address must prove that it is real.
const HALF_OPEN_UNPROVEN: usize = 64; // full: an address is asked for proof
/// How many of the half-done handshakes may come from one address that is real.
const HALF_OPEN_OF_ONE: usize = 64; // full: further ones are refused

/// The handshakes that are half done. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    proven: HashMap<IpAddr, usize>,
}

/// Whether an address has shown that it gets what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It may be anybody's.
    None,
    /// It is real.
    Shown,
}

/// What is done about a handshake that begins.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes on, and has a place until that is dropped.
    Begin(Place),
    /// The address must prove itself first.
    Prove,
    /// There is no place.
    Refuse,
}

/// The place of one handshake that is half done.
#[derive(Debug)]
pub(super) struct Place {
    handshakes: Handshakes,
    proven: Option<IpAddr>,
}

impl Handshakes {
    /// Finds a place for a handshake from this address.
    pub(super) fn begin(&self, address: IpAddr, proof: Proof) -> Verdict {
        let network = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let proven = match proof {
            Proof::None if counts.all >= HALF_OPEN_UNPROVEN => return Verdict::Prove,
            Proof::None => None,
            Proof::Shown => {
                let of_one = counts.proven.get(&network).copied().unwrap_or_default();
                if counts.all >= HALF_OPEN || of_one >= HALF_OPEN_OF_ONE {
                    return Verdict::Refuse;
                }
                counts.proven.insert(network, of_one + 1);
                Some(network)
            }
        };
        counts.all += 1;
        Verdict::Begin(Place { handshakes: self.clone(), proven })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.handshakes.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(network) = self.proven
            && let Some(of_one) = counts.proven.get_mut(&network)
        {
            *of_one -= 1;
            if *of_one == 0 {
                counts.proven.remove(&network);
            }
        }
    }
}

/// What one machine has: an IPv4 address, or a network of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::V4((n as u32).into())
    }

    fn begin(handshakes: &Handshakes, from: usize, proof: Proof) -> Option<Place> {
        match handshakes.begin(address(from), proof) {
            Verdict::Begin(place) => Some(place),
            Verdict::Prove | Verdict::Refuse => None,
        }
    }

    #[test]
    fn forged_addresses_never_take_more_than_their_part() {
        let handshakes = Handshakes::default();
        let forged: Vec<_> =
            (0..10_000).filter_map(|n| begin(&handshakes, n, Proof::None)).collect();
        assert_eq!(forged.len(), HALF_OPEN_UNPROVEN);
        assert!(matches!(handshakes.begin(address(1), Proof::None), Verdict::Prove));
        assert!(begin(&handshakes, 1, Proof::Shown).is_some());
    }

    #[test]
    fn one_real_address_leaves_places_for_others() {
        let handshakes = Handshakes::default();
        let of_one: Vec<_> =
            (0..10_000).filter_map(|_| begin(&handshakes, 1, Proof::Shown)).collect();
        assert_eq!(of_one.len(), HALF_OPEN_OF_ONE);
        assert!(matches!(handshakes.begin(address(1), Proof::Shown), Verdict::Refuse));
        assert!(begin(&handshakes, 2, Proof::Shown).is_some());
    }

    #[test]
    fn all_addresses_together_have_a_bound() {
        let handshakes = Handshakes::default();
        let all: Vec<_> = (0..10_000).filter_map(|n| begin(&handshakes, n, Proof::Shown)).collect();
        assert_eq!(all.len(), HALF_OPEN);
    }

    #[test]
    fn a_handshake_that_ends_leaves_nothing_behind() {
        let handshakes = Handshakes::default();
        for n in 0..10_000 {
            assert!(begin(&handshakes, n, Proof::Shown).is_some());
        }
        let counts = handshakes.counts.lock().unwrap();
        assert_eq!((counts.all, counts.proven.len()), (0, 0));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_part() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
