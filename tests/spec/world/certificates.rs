//! An authority that issues certificates, receivers that show them, and clients that trust it alone.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::secrets;

/// An authority that issues certificates.
pub struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    /// An authority nobody knows yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// A certificate for loopback and this name, and its private key, both PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        self.issue_as(&["127.0.0.1", name], |_| {})
    }

    /// A certificate for these names, changed by `change`, and its private key, both PEM.
    pub fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let cert = params.signed_by(&key, &self.0);
        let key = key.serialize_pem();
        secrets::register_private_key(&key);
        (cert.expect("a certificate").pem(), key)
    }

    /// The authority's own certificate as a file in a folder; its path.
    pub fn write_to(&self, folder: &Path) -> String {
        let path = folder.join("authority.pem");
        std::fs::write(&path, self.0.pem()).expect("a file");
        path.display().to_string()
    }

    /// The same as files `<name>.cert` and `<name>.key` in a folder; their paths.
    pub fn issue_to(&self, folder: &Path, name: &str) -> [String; 2] {
        let (cert, key) = self.issue("switchhook.example");
        [("cert", cert), ("key", key)].map(|(kind, text)| {
            let path = folder.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        })
    }

    /// What a receiver at loopback shows, speaking this protocol (ALPN).
    pub fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        accepting(&self.issue("receiver.example"), protocol)
    }

    /// A client that trusts this authority alone, and keeps no connection.
    pub fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.0.pem().as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([root]);
        client.build().expect("a client")
    }
}

/// Shows this certificate, with this private key, both PEM.
pub fn accepting((cert, key): &(String, String), protocol: &[u8]) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(|cert| cert.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_no_client_auth().with_single_cert(chain, key);
    let mut server = server.expect("a certificate");
    server.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(server).into()
}
