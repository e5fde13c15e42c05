//! A listener's certificate and private key: read, checked, and put together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{Error, InconsistentKeys, ServerConfig};
use zeroize::Zeroizing;

use super::flags::TlsFlags;

/// The PEM files of a certificate chain and its private key.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What a listener shows its clients, as the two files held it when they were read.
pub(crate) struct Identity {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) cert: String,
    pub(crate) key: Zeroizing<String>,
    leaf: CertificateDer<'static>,
}

/// A certificate that is served, and where it comes from.
pub(crate) struct TlsSource {
    pub(crate) files: TlsFiles,
    pub(crate) identity: Identity,
}

impl TlsFiles {
    /// Reads both files.
    ///
    /// # Errors
    /// What is wrong with one of them, or that they do not belong together.
    pub(crate) fn read(&self) -> Result<Identity, String> {
        let cert = read(&self.cert)?;
        let key = Zeroizing::new(read(&self.key)?);
        self.fit(cert, key)
    }

    fn fit(&self, cert: String, key: Zeroizing<String>) -> Result<Identity, String> {
        let (of_cert, of_key) = (self.cert.display(), self.key.display());
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("{of_cert}: it is no PEM: {error}"))?;
        let leaf =
            chain.first().cloned().ok_or_else(|| format!("{of_cert}: it holds no certificate (PEM)"))?;
        ParsedCertificate::try_from(&leaf)
            .map_err(|error| format!("{of_cert}: its first certificate cannot be read: {error}"))?;
        // The error of the parser is not shown: it could quote the key.
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| format!("{of_key}: it holds no private key (PEM)"))?;
        let server = server(chain, private).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{of_key}: it is not the private key of the certificate in {of_cert}")
            }
            error => format!("{of_key}: its private key cannot be used: {error}"),
        })?;
        Ok(Identity { server: Arc::new(server), cert, key, leaf })
    }
}

impl Identity {
    /// Whether the certificate is made out to this name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let Ok(name) = ServerName::try_from(name) else { return false };
        ParsedCertificate::try_from(&self.leaf).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// TLS 1.2 and 1.3, HTTP/1.1.
fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

/// The certificates that the flags name: the events' listener's, and the API's.
pub(super) fn at_start(flags: &TlsFlags, faults: &mut Vec<String>) -> [Option<TlsSource>; 2] {
    let TlsFlags { tls_cert, tls_key, api_tls_cert, api_tls_key } = flags;
    [("tls", tls_cert, tls_key), ("api-tls", api_tls_cert, api_tls_key)].map(|(flag, cert, key)| {
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) => return None,
            (Some(_), None) => {
                faults.push(format!("--{flag}-cert is given, --{flag}-key is not."));
                return None;
            }
            (None, Some(_)) => {
                faults.push(format!("--{flag}-key is given, --{flag}-cert is not."));
                return None;
            }
        };
        let files = TlsFiles { cert, key };
        let identity = files.read().map_err(|fault| faults.push(format!("--{flag}-cert: {fault}.")));
        identity.ok().map(|identity| TlsSource { files, identity })
    })
}
