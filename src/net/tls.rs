//! TLS 1.3 in which the certificate's key *is* the node id.
//!
//! Both sides show a self-signed Ed25519 certificate. Nothing in it counts but its key: the dialer
//! accepts the one node that it dialed, the listener the nodes that are admitted. Whoever is
//! neither is refused in the handshake, before a stream is read.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use crate::words::{Identity, NodeId};

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"towline/1";
/// What stands before an Ed25519 secret in PKCS #8 (RFC 8410).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// What stands before an Ed25519 public key in a certificate (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Says why the TLS settings can't be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate can't be made of the node's key.
    #[error("can't make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses the settings.
    #[error("can't set up TLS: {0}")]
    Rustls(#[from] Error),
}

/// The nodes that may connect. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    nodes: Arc<RwLock<HashSet<NodeId>>>,
}

impl Admitted {
    /// Admits a node.
    pub fn insert(&self, node: NodeId) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(node);
    }

    /// Whether a node is admitted.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).contains(node)
    }
}

/// The node that a certificate stands for: its Ed25519 key.
pub fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let info = parsed.subject_public_key_info();
    let key = info.strip_prefix(&SPKI_ED25519[..])?;
    let node = NodeId(key.try_into().ok()?);
    node.is_sound().then_some(node)
}

fn certificate(
    identity: &Identity,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
    let secret = [&PKCS8_ED25519[..], &identity.secret()].concat();
    let der = PrivatePkcs8KeyDer::from(secret);
    let key = rcgen::KeyPair::try_from(&der)?;
    let params = rcgen::CertificateParams::new(vec!["towline".to_owned()])?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(der)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The settings for accepting admitted nodes.
pub(super) fn server(identity: &Identity, admitted: Admitted) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let (certificate, key) = certificate(identity)?;
    let verifier = Arc::new(AdmittedOnly { admitted, algorithms });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The settings for dialing one node.
pub(super) fn client(identity: &Identity, peer: NodeId) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let (certificate, key) = certificate(identity)?;
    let verifier = Arc::new(ThisNodeOnly { peer, algorithms });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct ThisNodeOnly {
    peer: NodeId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ThisNodeOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if node_of(end_entity) == Some(self.peer) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[derive(Debug)]
struct AdmittedOnly {
    admitted: Admitted,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AdmittedOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if node_of(end_entity).is_some_and(|node| self.admitted.contains(&node)) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_stands_for_the_node_that_made_it() {
        let identity = Identity::from_secret(&[5; 32]);
        let (certificate, _) = certificate(&identity).unwrap();
        assert_eq!(node_of(&certificate), Some(identity.node_id()));
    }

    #[test]
    fn bytes_that_are_no_certificate_stand_for_nobody() {
        assert_eq!(node_of(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
