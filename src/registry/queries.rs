//! Queries of URLs at rest: a query may hold a receiver's token.
//!
//! Sealed with AES-256-GCM-SIV (RFC 8452) and one nonce, so that the same URL is always sealed to the same text: URLs
//! are compared in the store.

use std::borrow::Cow;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::signature::MasterSecret;

const INFO: &str = "switchhook/query/v1";

/// Begins a sealed query. No URL of a hook has it: `<` and `>` are percent-encoded in queries (WHATWG URL §query
/// percent-encode set).
const SEALED: &str = "<sealed>";

/// Seals what URLs have behind their `?`.
#[derive(Default)]
pub struct QuerySealer(Vec<LessSafeKey>);

impl QuerySealer {
    /// Seals under the current master secret; opens what older ones sealed, too. The default one seals nothing.
    pub fn new(master: &MasterSecret) -> Self {
        let keys = master.expand_all(INFO).filter_map(|key| UnboundKey::new(&AES_256_GCM_SIV, &*key).ok());
        Self(keys.map(LessSafeKey::new).collect())
    }

    /// A URL as it is stored. It opens only with the same host and path before it.
    pub fn seal<'u>(&self, url: &'u str) -> Cow<'u, str> {
        let split = url.split_once('?').filter(|(_, query)| !query.starts_with(SEALED));
        let (Some((base, query)), Some(key)) = (split, self.0.first()) else { return Cow::Borrowed(url) };
        let mut sealed = query.as_bytes().to_vec();
        match key.seal_in_place_append_tag(nonce(), Aad::from(base.as_bytes()), &mut sealed) {
            Ok(()) => Cow::Owned(format!("{base}?{SEALED}{}", URL_SAFE_NO_PAD.encode(sealed))),
            // Only a query of many gigabytes is refused.
            Err(_) => Cow::Borrowed(base),
        }
    }

    /// The URL that was stored; none if its query cannot be opened: another master secret sealed it, or it was altered.
    /// Queries that an older release stored are not sealed.
    pub fn open<'u>(&self, stored: &'u str) -> Option<Cow<'u, str>> {
        let sealed =
            stored.split_once('?').and_then(|(base, query)| Some((base, query.strip_prefix(SEALED)?)));
        let Some((base, sealed)) = sealed else { return Some(Cow::Borrowed(stored)) };
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let query = self.0.iter().find_map(|key| {
            let mut plain = Zeroizing::new(sealed.clone());
            let opened = key.open_in_place(nonce(), Aad::from(base.as_bytes()), &mut plain).ok()?;
            std::str::from_utf8(opened).ok().map(str::to_owned)
        })?;
        Some(Cow::Owned(format!("{base}?{query}")))
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened(secrets: &[&str], stored: &str) -> Option<String> {
        sealer(secrets).open(stored).map(Cow::into_owned)
    }

    fn sealer(secrets: &[&str]) -> QuerySealer {
        let lines: Vec<_> = secrets.iter().map(|letter| letter.repeat(32)).collect();
        QuerySealer::new(&MasterSecret::parse(&lines.join("\n")).expect("strong"))
    }

    #[test]
    fn a_url_without_a_query_is_stored_as_it_is_and_one_with_a_query_without_it() {
        let sealer = sealer(&["a"]);
        assert!(matches!(sealer.seal("https://a.example/hook"), Cow::Borrowed("https://a.example/hook")));
        let sealed = sealer.seal("https://a.example/hook?token=hush").into_owned();
        assert!(
            sealed.starts_with("https://a.example/hook?<sealed>") && !sealed.contains("hush"),
            "{sealed}"
        );
        assert_eq!(sealer.seal("https://a.example/hook?token=hush"), sealed, "it is compared in the store");
        assert_eq!(sealer.seal(&sealed), sealed, "it is sealed once");
        assert_eq!(sealer.open("https://a.example/?plain=1").as_deref(), Some("https://a.example/?plain=1"));
        assert_eq!(sealer.open("https://a.example/?<sealed>!"), None);
    }

    /// As it was first stored: it must be opened for ever.
    #[test]
    fn a_query_that_was_sealed_once_is_opened() {
        let stored = "https://a.example/?<sealed>JC1vxiDSILU21t4NJIJPN_hVsiIJJr-6yos";
        assert_eq!(sealer(&["a"]).seal("https://a.example/?token=hush"), stored);
        assert_eq!(opened(&["a"], stored).as_deref(), Some("https://a.example/?token=hush"));
    }

    proptest! {
        #[test]
        fn a_query_opens_behind_its_own_path_and_under_its_own_secret_alone(
            query in "[!-;=?-~]{0,40}", at: prop::sample::Index,
        ) {
            let url = format!("https://a.example/hook?{query}");
            let sealed = sealer(&["a"]).seal(&url).into_owned();
            prop_assert_eq!(opened(&["a"], &sealed), Some(url.clone()));
            prop_assert_eq!(opened(&["b", "a"], &sealed), Some(url));
            prop_assert_eq!(opened(&["b"], &sealed), None);
            prop_assert_eq!(opened(&["a"], &sealed.replace("hook", "other")), None);
            let from = sealed.find(SEALED).expect("sealed") + SEALED.len();
            let at = from + at.index(sealed.len() - from);
            let other = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
            let altered = format!("{}{other}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assert_eq!(opened(&["a"], &altered), None);
        }
    }
}
