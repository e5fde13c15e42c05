//! What the listeners need where not everybody means well: certificates, the API's guard, and its secret.

use std::path::Path;
use std::sync::Arc;

use super::secret::SecretWatcher;
use super::tls::Certificate;
use crate::access::Tokens;
use crate::api::{AllowedHosts, Guard};
use crate::config::{API_CERT, Exposure};
use crate::telemetry::Degradation;
use crate::time::Clock;

/// What protects the listeners.
pub struct Protection {
    /// The certificate of the events' listener.
    pub certificate: Option<Arc<Certificate>>,
    pub api_certificate: Option<Arc<Certificate>>,
    pub guard: Arc<Guard>,
    pub secret: SecretWatcher,
}

impl Protection {
    /// What the settings ask for; `data`: the data directory.
    pub fn new(exposure: Exposure, data: &Path, clock: &Clock) -> Self {
        let Exposure { tls, api_tls, api_hosts, api_secret } = exposure;
        let certificate = tls.map(|source| Certificate::new(source, None, Degradation::Certificate));
        let copy = Some(data.join(API_CERT));
        let api_certificate =
            api_tls.map(|source| Arc::new(Certificate::new(source, copy, Degradation::ApiCertificate)));
        let own = api_certificate.clone();
        let hosts = AllowedHosts::new(api_hosts, move |name| {
            own.as_ref().is_some_and(|certificate| certificate.has_name(name))
        });
        let tokens = Arc::new(Tokens::new(&api_secret.text));
        Self {
            certificate: certificate.map(Arc::new),
            api_certificate,
            guard: Arc::new(Guard::new(hosts, clock.clone())),
            secret: SecretWatcher { source: api_secret, tokens, data: data.to_path_buf() },
        }
    }
}
