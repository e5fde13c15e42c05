//! An authority that issues certificates, and clients that trust it alone.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

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
        let names = ["127.0.0.1", name].map(str::to_owned).to_vec();
        let key = KeyPair::generate().expect("a key");
        let cert = CertificateParams::new(names).expect("names").signed_by(&key, &self.0);
        (cert.expect("a certificate").pem(), key.serialize_pem())
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

    /// A client that trusts this authority alone, and keeps no connection.
    pub fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.0.pem().as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([root]);
        client.build().expect("a client")
    }
}
