//! How receivers are reached: opened networks, nameservers, trusted authorities.

use std::fs;
use std::path::Path;

use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::flags::Flags;
use crate::dispatch::Reach;
use crate::network::Network;

/// What the flags say.
pub(super) fn at_start(flags: &Flags, faults: &mut Vec<String>) -> Reach {
    let authorities = flags.reach.ca_file.as_deref().map(|path| {
        let shown = path.display();
        authorities(path)
            .map_err(|fault| faults.push(format!("--ca-file {shown}: {fault}.")))
            .unwrap_or_default()
    });
    Reach {
        network: network_of(&flags.allow_network, flags.allow_http, flags.dev),
        nameservers: flags.reach.nameserver.clone(),
        authorities: authorities.unwrap_or_default(),
    }
}

/// What may be dialled with these flags.
pub(crate) fn network_of(allow_network: &[IpNet], allow_http: bool, dev: bool) -> Network {
    let mut allowed = allow_network.to_vec();
    if dev {
        allowed.extend(["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse::<IpNet>().ok()));
    }
    Network { allowed, allow_http: allow_http || dev }
}

/// The certificates in a PEM file.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| format!("it is no PEM: {error}"))?;
    if all.is_empty() {
        return Err("it holds no certificate (PEM)".into());
    }
    let mut roots = RootCertStore::empty();
    let unusable = all.iter().enumerate().find_map(|(n, one)| Some((n + 1, roots.add(one.clone()).err()?)));
    match unusable {
        None => Ok(all),
        Some((n, error)) => Err(format!("certificate {n} cannot be used: {error}")),
    }
}
