//! A node's key, and the signature that vouches for a change.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};

use super::id::{ChangeHash, ClusterId, NodeId};
use super::planted::{Bug, planted};

/// What every signature of a change starts with, so that it can't be taken for anything else.
const CHANGE_DOMAIN: &[u8] = b"towline/1 change\0";

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

/// The secret key of a node. It is never printed: `Debug` shows the public half.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node_id().short())
    }
}

impl Identity {
    /// The identity that belongs to a secret of 32 random bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret) }
    }

    /// The secret itself, for the key file and the TLS certificate only.
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half: the node's name.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// Signs a change of a cluster.
    pub fn sign(&self, cluster: ClusterId, hash: ChangeHash) -> Signature {
        Signature(self.key.sign(&statement(cluster, hash)).to_bytes())
    }
}

impl NodeId {
    /// Whether `signature` is this node's over a change of the cluster.
    ///
    /// Strict verification (RFC 8032 with the checks of «Taming the many EdDSAs»), so that every
    /// node accepts the same signatures: low-order keys and a non-canonical S are refused.
    pub fn verify(&self, cluster: ClusterId, hash: ChangeHash, signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        if planted(Bug::LaxSignatures) {
            return key.verify(&statement(cluster, hash), &signature).is_ok();
        }
        key.verify_strict(&statement(cluster, hash), &signature).is_ok()
    }

    /// Whether the id is a key that can vouch for anything: a point of the curve, of full order.
    pub fn is_sound(&self) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| !key.is_weak() || planted(Bug::LaxSignatures))
    }
}

/// What is signed: the domain, the cluster, the change.
fn statement(cluster: ClusterId, hash: ChangeHash) -> Vec<u8> {
    [CHANGE_DOMAIN, &cluster.0, &hash.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_change_of_one_cluster() {
        let identity = Identity::from_secret(&[7; 32]);
        let (cluster, hash) = (ClusterId([1; 32]), ChangeHash([2; 32]));
        let signature = identity.sign(cluster, hash);
        assert!(identity.node_id().verify(cluster, hash, &signature));
        assert!(!identity.node_id().verify(ClusterId([3; 32]), hash, &signature));
        assert!(!identity.node_id().verify(cluster, ChangeHash([3; 32]), &signature));
    }

    #[test]
    fn a_low_order_key_vouches_for_nothing() {
        let mut weak = [0; 32];
        weak[0] = 1; // the neutral element: any message has a «signature» under it
        let node = NodeId(weak);
        assert!(!node.is_sound());
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!node.verify(ClusterId([0; 32]), ChangeHash([0; 32]), &Signature(forged)));
    }

    #[test]
    fn a_non_canonical_s_is_refused() {
        let identity = Identity::from_secret(&[7; 32]);
        let (cluster, hash) = (ClusterId([1; 32]), ChangeHash([2; 32]));
        let mut signature = identity.sign(cluster, hash);
        // Adding the group order L to S gives an equation that still holds, and must not count.
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0u16;
        for (byte, l) in signature.0[32..].iter_mut().zip(L) {
            carry += u16::from(*byte) + u16::from(l);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert!(!identity.node_id().verify(cluster, hash, &signature));
    }
}
