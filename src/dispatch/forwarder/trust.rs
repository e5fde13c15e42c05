//! Which receivers' certificates are trusted.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, trusting the system's authorities (those in `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` instead, where set) and these.
///
/// # Errors
/// That there is none, or what is wrong with one of these.
pub fn client(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // What the system has but rustls cannot read is left out, as browsers do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err(
            "the system trusts no authority: install ca-certificates, or name a file with --ca-file".into()
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.map_err(|error| error.to_string())?;
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(client)
}
