//! What a hooks file is read against: the network, and secrets that stand elsewhere.

use zeroize::Zeroizing;

use crate::network::Network;

/// Where a secret stands that is not in the file itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source<'a> {
    /// `${NAME}`.
    Variable(&'a str),
    /// `{file: path}`.
    File(&'a str),
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "file: {path}"),
        }
    }
}

/// What a source holds, or why it cannot be read.
pub type Looked = Result<Zeroizing<String>, String>;

/// What to do about a URL that a hook of the API may not have: flags of the server are not its owner's to set.
pub const PUBLIC_TARGETS: &str =
    "https and a public address; private targets need a token that is made with --private";

/// The same where the token permits private targets.
pub const OPENED_TARGETS: &str =
    "https and a public address, or a private network that the operator has opened";

/// What a hooks file is read against.
pub struct Around<'a> {
    pub(super) network: Network,
    /// What to do about a URL that is not permitted, if no flag of the server is to be named.
    pub(super) target_fix: Option<&'static str>,
    pub(super) look_up: Box<dyn Fn(Source<'_>) -> Looked + Send + Sync + 'a>,
    pub(super) is_platform_key: Box<dyn Fn(&str) -> bool + Send + Sync + 'a>,
}

impl<'a> Around<'a> {
    /// `network`: what URLs may be delivered to. `look_up`: gives secrets from outside the file.
    pub fn new(network: Network, look_up: impl Fn(Source<'_>) -> Looked + Send + Sync + 'a) -> Self {
        let is_platform_key = Box::new(|_: &str| false);
        Self { network, target_fix: None, look_up: Box::new(look_up), is_platform_key }
    }

    /// The same; calls `note` with what each source held.
    pub fn noting<'b>(
        &'b self,
        note: impl Fn(Source<'_>, &Zeroizing<String>) + Send + Sync + 'b,
    ) -> Around<'b> {
        let look_up = move |source: Source<'_>| (self.look_up)(source).inspect(|text| note(source, text));
        Around::new(self.network.clone(), look_up).beside_keys(|key| (self.is_platform_key)(key))
    }

    /// The same; `instead` gives what a source held if it cannot be read.
    pub fn or_else<'b>(
        &'b self,
        instead: impl Fn(Source<'_>) -> Option<Zeroizing<String>> + Send + Sync + 'b,
    ) -> Around<'b> {
        let look_up =
            move |source: Source<'_>| (self.look_up)(source).or_else(|why| instead(source).ok_or(why));
        Around::new(self.network.clone(), look_up).beside_keys(|key| (self.is_platform_key)(key))
    }

    /// `is_platform_key`: whether a LiveKit API key is the platform's, which no tenant may have.
    #[must_use]
    pub fn beside_keys(self, is_platform_key: impl Fn(&str) -> bool + Send + Sync + 'a) -> Self {
        Self { is_platform_key: Box::new(is_platform_key), ..self }
    }

    /// What a hook of the API is read against: no secret from elsewhere. `private`: whether it may deliver to the
    /// networks that the operator has opened. `covers_key`: whether the token names a LiveKit API key; of others it is
    /// not told whether they are the platform's.
    pub fn of_api<'b>(
        &'b self,
        private: bool,
        covers_key: impl Fn(&str) -> bool + Send + Sync + 'b,
    ) -> Around<'b> {
        let network = if private { self.network.clone() } else { Network::default() };
        let refuse =
            |_: Source<'_>| Err("it stands for a secret in hooks.yaml only; give the secret itself".into());
        let around = Around::new(network, refuse);
        let target_fix = Some(if private { OPENED_TARGETS } else { PUBLIC_TARGETS });
        let beside = move |key: &str| covers_key(key) && (self.is_platform_key)(key);
        Around { target_fix, ..around.beside_keys(beside) }
    }
}
