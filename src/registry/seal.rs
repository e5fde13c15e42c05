//! Encryption at rest: AES-256-GCM under keys derived from the master secret.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::queries::QuerySealer;
use crate::ids::DeliveryId;
use crate::signature::{MasterSecret, fill_random};

const INFO: &str = "switchhook/v1/store";
const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals what the store keeps of secrets: nonce, ciphertext, tag.
pub struct Sealer(Vec<LessSafeKey>);

impl Sealer {
    /// Seals under the current master secret; opens what older ones sealed, too.
    pub fn new(master: &MasterSecret) -> Self {
        Self(keys(master, INFO).collect())
    }

    /// Seals `plain`. It opens only with the same `context`, so a sealed text cannot be moved to another place.
    pub fn seal(&self, context: &str, plain: &str) -> Option<Vec<u8>> {
        seal(self.0.first()?, context, plain.as_bytes())
    }

    /// Opens what [`Self::seal`] sealed; none if the master secret is another or it was altered.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let plain = self.0.iter().find_map(|key| open(key, context, sealed))?;
        std::str::from_utf8(&plain).ok().map(|text| Zeroizing::new(text.to_owned()))
    }
}

/// What opens and seals what is stored of deliveries.
pub struct Seals {
    pub bodies: BodySealer,
    pub queries: QuerySealer,
}

impl Seals {
    /// Under this master secret.
    pub fn new(master: &MasterSecret) -> Self {
        Self { bodies: BodySealer::new(master), queries: QuerySealer::new(master) }
    }
}

/// Seals bodies of delivered events. Each has a key of its own: random nonces meet under one key after some billions of
/// texts, and a busy router seals so many.
pub struct BodySealer(MasterSecret);

impl BodySealer {
    /// Seals under the current master secret; opens what older ones sealed, too.
    pub fn new(master: &MasterSecret) -> Self {
        Self(master.clone())
    }

    /// Seals the body of an event. It opens only as this event's.
    pub fn seal(&self, id: DeliveryId, event_id: &str, body: &[u8]) -> Option<Vec<u8>> {
        let context = body_context(id, event_id);
        seal(&keys(&self.0, &context).next()?, &context, body)
    }

    /// Opens what [`Self::seal`] sealed; none if the master secret is another or it was altered.
    pub fn open(&self, id: DeliveryId, event_id: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let context = body_context(id, event_id);
        let mut opened = keys(&self.0, &context).filter_map(|key| open(&key, &context, sealed));
        opened.next().map(|mut plain| std::mem::take(&mut *plain))
    }
}

/// Never the beginning of a tenant's, which is `switchhook/v1/`.
fn body_context(id: DeliveryId, event_id: &str) -> String {
    format!("switchhook/body/v1/{}/{event_id}", id.0)
}

fn keys(master: &MasterSecret, info: &str) -> impl Iterator<Item = LessSafeKey> {
    master.expand_all(info).filter_map(|key| UnboundKey::new(&AES_256_GCM, &*key).ok()).map(LessSafeKey::new)
}

fn seal(key: &LessSafeKey, context: &str, plain: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE];
    fill_random(&mut nonce);
    let mut sealed = Vec::with_capacity(NONCE + plain.len() + TAG);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let aad = Aad::from(context.as_bytes());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, aad, &mut sealed[NONCE..]).ok()?;
    sealed.extend_from_slice(tag.as_ref());
    Some(sealed)
}

fn open(key: &LessSafeKey, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut plain).ok()?.len();
    plain.truncate(opened);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// As the first release that keeps bodies sealed one: it must be opened for ever.
    #[test]
    fn a_body_that_was_sealed_once_is_opened() {
        let master = MasterSecret::parse(&"a".repeat(32)).expect("strong");
        let sealed = [
            3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 102, 69, 132, 169, 49, 43, 134, 237, 222, 181, 25, 144, 238,
            209, 175, 137, 185, 167,
        ];
        let opened = BodySealer::new(&master).open(DeliveryId(7), "EV_1", &sealed);
        assert_eq!(opened.as_deref(), Some(&b"{}"[..]));
    }

    proptest! {
        #[test]
        fn a_body_opens_as_its_own_events_alone_and_no_byte_may_be_another(
            body: Vec<u8>, id: i64, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let secret = |letter: &str| letter.repeat(32);
            let of = |text: &str| BodySealer::new(&MasterSecret::parse(text).expect("strong"));
            let (sealer, id) = (of(&secret("a")), DeliveryId(id));
            let mut sealed = sealer.seal(id, "EV_1", &body).expect("sealed");
            prop_assert_eq!(sealed.len(), NONCE + body.len() + TAG);
            let rotated = of(&format!("{}\n{}", secret("b"), secret("a")));
            prop_assert_eq!(rotated.open(id, "EV_1", &sealed), Some(body.clone()));
            prop_assert_eq!(sealer.open(DeliveryId(id.0.wrapping_add(1)), "EV_1", &sealed), None);
            prop_assert_eq!(sealer.open(id, "EV_2", &sealed), None);
            prop_assert_eq!(of(&secret("b")).open(id, "EV_1", &sealed), None);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(sealer.open(id, "EV_1", &sealed), None);
            prop_assert_eq!(sealer.open(id, "EV_1", &sealed[..at]), None);
        }
    }
}
