//! What a client shows in the handshake: a certificate and a key that need not belong together.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureAlgorithm, SignatureScheme,
};
use towline::net::tls::ALPN;
use towline::words::{Identity, NodeId};

/// What stands before an Ed25519 secret in PKCS #8 (RFC 8410).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What a client shows, and which protocol it asks for.
#[derive(Clone)]
pub struct Papers {
    shown: Option<Arc<CertifiedKey>>,
    alpn: Vec<u8>,
}

impl Papers {
    /// The papers of an honest node.
    pub fn of(identity: &Identity) -> Self {
        Self::signed(certificate(identity), signing_key(identity))
    }

    /// Another node's certificate, which anybody can copy, with a key of one's own.
    pub fn stolen(from: &Identity, key: &Identity) -> Self {
        Self::signed(certificate(from), signing_key(key))
    }

    /// A certificate of a key of another sort.
    pub fn of_another_sort() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["towline".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let key = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(key)).unwrap();
        Self::signed(certificate, key)
    }

    /// A certificate of a key under which anybody can sign anything, and such a signature.
    pub fn weak(weak: NodeId, over: &Identity) -> Self {
        let mut der = certificate(over).to_vec();
        let strong = over.node_id().0;
        let at = der.windows(32).position(|part| part == strong).unwrap();
        der[at..at + 32].copy_from_slice(&weak.0);
        Self::signed(CertificateDer::from(der), Arc::new(Forger))
    }

    /// No certificate at all.
    pub fn none() -> Self {
        Self { shown: None, alpn: ALPN.to_vec() }
    }

    /// The same papers, asking for another protocol.
    pub fn asking_for(mut self, alpn: &[u8]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    fn signed(certificate: CertificateDer<'static>, key: Arc<dyn SigningKey>) -> Self {
        let shown = Some(Arc::new(CertifiedKey::new(vec![certificate], key)));
        Self { shown, alpn: ALPN.to_vec() }
    }

    /// The TLS settings that show them; they accept any server.
    pub fn tls(&self) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_client_cert_resolver(Arc::new(Shown(self.shown.clone())));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }

    /// The TLS settings of a listener that shows them; it accepts any client.
    pub fn listening(&self) -> ServerConfig {
        let shown = self.shown.clone().expect("a listener has a certificate");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![self.alpn.clone()];
        config
    }

    pub fn quic(&self) -> quinn::ClientConfig {
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls()).unwrap()))
    }
}

fn certificate(identity: &Identity) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::try_from(&pkcs8(identity)).unwrap();
    let params = rcgen::CertificateParams::new(vec!["towline".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn signing_key(identity: &Identity) -> Arc<dyn SigningKey> {
    ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(pkcs8(identity))).unwrap()
}

fn pkcs8(identity: &Identity) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from([&PKCS8_ED25519[..], &identity.secret()].concat())
}

/// Shows one certificate, without a look at whether the key fits.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Signs with R = the neutral element and S = 0, which a lax verifier takes under a key of low order.
#[derive(Debug)]
struct Forger;

impl SigningKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        let mut forged = vec![0; 64];
        forged[0] = 1;
        Ok(forged)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Accepts whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
