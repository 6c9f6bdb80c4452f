//! TLS for HTTP, with a certificate from files.
//!
//! The files are looked at with every connection, so that a renewed certificate counts at once;
//! one that can't be used leaves the last one in use.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Says why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// A file can't be read as PEM.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// Everybody on the machine can read the key.
    #[error("the key {path} can be read by everybody (mode {mode:04o})")]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is no certificate in the file.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Certificate and key don't fit, or rustls refuses them.
    #[error("the certificate can't be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What shows that a file was replaced.
type Stamp = Option<(u64, u64, SystemTime)>;

/// Accepts TLS 1.3 connections.
pub struct Https {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<([Stamp; 2], TlsAcceptor)>,
}

impl Https {
    /// Reads a certificate with its chain, and its key, as PEM.
    ///
    /// # Errors
    /// See [`HttpsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, HttpsError> {
        let stamps = [stamp(certificate), stamp(key)];
        let acceptor = acceptor(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Mutex::new((stamps, acceptor)),
        })
    }

    /// Does the handshake of a connection.
    ///
    /// # Errors
    /// The client breaks off, or speaks no TLS 1.3.
    ///
    /// # Cancel safety
    /// When dropped, the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self.renewed();
        acceptor.accept(stream).await
    }

    fn renewed(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = [stamp(&self.certificate), stamp(&self.key)];
        if current.0 != stamps {
            match acceptor(&self.certificate, &self.key) {
                Ok(renewed) => current.1 = renewed,
                Err(error) => tracing::warn!(%error, "the certificate of before stays in use"),
            }
            // Said once; a file that is being written changes again, and is then read again.
            current.0 = stamps;
        }
        current.1.clone()
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, HttpsError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |error| HttpsError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(file(certificate))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(file(certificate))?;
    if chain.is_empty() {
        return Err(HttpsError::Empty(certificate.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    let mode = fs::metadata(key).map_or(0, |metadata| metadata.mode() & 0o7777);
    if mode & 0o007 != 0 {
        return Err(HttpsError::KeyReadable { path: key.to_owned(), mode });
    }
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
