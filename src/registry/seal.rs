//! Encryption at rest: AES-256-GCM under a key derived from the master secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::signature::{MasterSecret, fill_random};

const INFO: &str = "switchhook/v1/store";
const NONCE: usize = 12;

/// Seals what the store keeps of secrets: nonce, ciphertext, tag.
pub struct Sealer(Vec<LessSafeKey>);

impl Sealer {
    /// Seals under the current master secret; opens what older ones sealed, too.
    pub fn new(master: &MasterSecret) -> Self {
        let keys = master.expand_all(INFO);
        Self(keys.filter_map(|key| UnboundKey::new(&AES_256_GCM, &*key).ok()).map(LessSafeKey::new).collect())
    }

    /// Seals `plain`. It opens only with the same `context`, so a sealed text cannot be moved to another place.
    pub fn seal(&self, context: &str, plain: &str) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce);
        let mut sealed = plain.as_bytes().to_vec();
        let key = self.0.first()?;
        let aad = Aad::from(context.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Self::seal`] sealed; none if the master secret is another or it was altered.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.0.iter().find_map(|key| {
            let mut plain = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut plain).ok()?;
            std::str::from_utf8(opened).ok().map(|text| Zeroizing::new(text.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_only_and_after_a_rotation_too() {
        let older = MasterSecret::parse(&"a".repeat(32)).expect("strong");
        let both = format!("{}\n{}", "b".repeat(32), "a".repeat(32));
        let rotated = Sealer::new(&MasterSecret::parse(&both).expect("strong"));
        let sealer = Sealer::new(&older);
        let sealed = sealer.seal("hook/1", "whsec_x").expect("sealed");
        assert!(!sealed.windows(5).any(|window| window == b"whsec"));
        assert_eq!(rotated.open("hook/1", &sealed).as_deref().map(String::as_str), Some("whsec_x"));
        assert!(sealer.open("hook/2", &sealed).is_none());
        assert!(sealer.open("hook/1", &sealed[..11]).is_none());
    }
}
