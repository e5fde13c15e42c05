//! Looks names up: asynchronously, each name once at a time, with a short memory of the answers. A nameserver that
//! does not answer delays nobody but those who ask for its names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;

use crate::delivery::Fault;
use crate::time::{Clock, Moment};

/// A look-up takes at most this long.
const WITHIN: Duration = Duration::from_secs(5);

/// A nameserver is asked again, or another one, after this time.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// Answers are used at most this long, and never longer than their time to live.
const KEPT: Duration = Duration::from_secs(30);

/// Names with an answer or a look-up under way.
const NAMES: usize = 4096;

/// A name with more addresses is refused: all of them are kept and vetted.
const ADDRESSES: usize = 256;

/// What a name resolves to, IPv6 and IPv4 in turn.
pub type Addresses = Arc<[IpAddr]>;

/// Looks names up.
pub struct Names {
    resolver: TokioResolver,
    known: Mutex<HashMap<Box<str>, Arc<Known>>>,
    clock: Clock,
}

/// A look-up: under way until it has a result.
#[derive(Default)]
struct Known(OnceCell<Looked>);

struct Looked {
    addresses: Result<Addresses, Fault>,
    /// From then on the name is looked up again.
    until: Moment,
}

impl Names {
    /// Asks these nameservers; if there are none, those of `/etc/resolv.conf`. `/etc/hosts` comes first. Both files
    /// are read here.
    ///
    /// # Errors
    /// When no resolver can be made.
    pub fn new(nameservers: &[SocketAddr], clock: Clock) -> Result<Self, NetError> {
        Ok(Self { resolver: resolver(nameservers)?, known: Mutex::default(), clock })
    }

    /// The addresses of a name. One that ends with a dot is taken as it is; otherwise the search list of
    /// `/etc/resolv.conf` applies. Who asks while the name is being looked up waits for the same answer.
    ///
    /// # Errors
    /// [`Fault::Dns`] if it has none, or none within 5 s.
    pub async fn look_up(&self, name: &str) -> Result<Addresses, Fault> {
        let known = self.known(name);
        // If the one that looks up is cancelled, the next one that waits does it.
        known.0.get_or_init(|| self.resolve(name)).await.addresses.clone()
    }

    /// The look-up of a name that is under way, or whose answer is still good; else a new one.
    fn known(&self, name: &str) -> Arc<Known> {
        let now = self.clock.now();
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name)
            && known.is_good(now)
        {
            return Arc::clone(known);
        }
        let known = Arc::new(Known::default());
        if all.len() >= NAMES {
            all.retain(|_, known| known.is_good(now) && !Known::is_abandoned(known));
        }
        if all.len() < NAMES {
            all.insert(name.into(), Arc::clone(&known));
        }
        known
    }

    async fn resolve(&self, name: &str) -> Looked {
        let found = self.clock.timeout(WITHIN, self.resolver.lookup_ip(name)).await;
        let now = self.clock.now();
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Looked::failed(now, name, &error.to_string()),
            Err(_) => return Looked::failed(now, name, "no answer within 5 s"),
        };
        if found.iter().count() > ADDRESSES {
            return Looked::failed(now, name, "it has more than 256 addresses");
        }
        let seconds = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let kept = Duration::from_secs(seconds.into()).min(KEPT);
        Looked { addresses: Ok(in_turn(found.iter())), until: now + kept }
    }
}

impl Known {
    /// Whether others may wait for it, or use its answer.
    fn is_good(&self, now: Moment) -> bool {
        self.0.get().is_none_or(|looked| now < looked.until)
    }

    /// Whether nobody is left who looks it up.
    fn is_abandoned(self: &Arc<Self>) -> bool {
        self.0.get().is_none() && Arc::strong_count(self) == 1
    }
}

impl Looked {
    /// What only those are told who have waited for it.
    fn failed(now: Moment, name: &str, why: &str) -> Self {
        tracing::debug!(name, error = why, "a name does not resolve");
        Self { addresses: Err(Fault::Dns), until: now }
    }
}

fn resolver(nameservers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = match nameservers {
        [] => Resolver::builder(provider.clone()).unwrap_or_else(|error| {
            let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
            tracing::warn!(%error, nameserver = %localhost, "/etc/resolv.conf is unusable: its default is used");
            Resolver::builder_with_config(asking(&[localhost]), provider)
        }),
        named => Resolver::builder_with_config(asking(named), provider),
    };
    let options = builder.options_mut();
    // Answers are kept here, for all that wait for the same name.
    options.cache_size = 0;
    options.timeout = ASKED_AGAIN;
    options.attempts = 1;
    builder.build()
}

fn asking(nameservers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(nameservers.iter().map(server).collect())
}

/// IPv6 and IPv4 in turn, so that neither kind alone can use up the time to connect (RFC 8305 §4).
fn in_turn(addresses: impl Iterator<Item = IpAddr>) -> Addresses {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut all = Vec::with_capacity(v6.len() + v4.len());
    while v6.len() + v4.len() > 0 {
        all.extend(v6.next().into_iter().chain(v4.next()));
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn names() -> Names {
        let clock = Clock::manual(UnixMillis(0));
        Names::new(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 53))], clock).expect("a resolver")
    }

    fn answer(known: &Known, until: Moment) {
        let looked = Looked { addresses: Ok(Arc::from([])), until };
        assert!(known.0.set(looked).is_ok());
    }

    #[tokio::test]
    async fn names_are_bounded_and_what_is_under_way_or_still_good_is_kept() {
        let names = names();
        let under_way = names.known("under-way.example.");
        let good = names.known("good.example.");
        answer(&good, names.clock.now() + KEPT);
        for n in 0..3 * NAMES {
            let known = names.known(&format!("n{n}.example."));
            if n % 2 == 0 {
                answer(&known, names.clock.now());
            }
        }
        assert!(names.known.lock().expect("names").len() <= NAMES);
        assert!(Arc::ptr_eq(&names.known("under-way.example."), &under_way));
        assert!(Arc::ptr_eq(&names.known("good.example."), &good));
        names.clock.advance(KEPT);
        assert!(!Arc::ptr_eq(&names.known("good.example."), &good));
    }

    /// With more look-ups under way than are kept, the others are not shared, and nothing is dropped.
    #[tokio::test]
    async fn names_beyond_the_bound_are_looked_up_all_the_same() {
        let names = names();
        let all: Vec<_> = (0..NAMES + 10).map(|n| names.known(&format!("n{n}.example."))).collect();
        assert_eq!(names.known.lock().expect("names").len(), NAMES);
        assert!(Arc::ptr_eq(&names.known("n0.example."), &all[0]));
    }

    #[test]
    fn addresses_come_in_turn() {
        let parse =
            |text: &str| text.split(' ').map(|text| text.parse().expect(text)).collect::<Vec<IpAddr>>();
        let mixed = parse("192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1");
        assert_eq!(in_turn(mixed.into_iter())[..], parse("2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3"));
    }
}
