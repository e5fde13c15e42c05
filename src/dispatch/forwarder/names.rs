//! Looks names up: asynchronously, each name once at a time, with a short memory of the answers. A nameserver that
//! does not answer delays nobody but those who ask for its names.

mod asking;
mod resolve;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use self::asking::SOCKETS;
pub use self::resolve::Resolvers;
use super::faults;
use super::pool::Pool;
use crate::delivery::Fault;
use crate::time::{Clock, Moment};

/// A look-up takes at most this long.
const WITHIN: Duration = Duration::from_secs(5);

/// Answers are used at most this long, and never longer than their time to live.
const KEPT: Duration = Duration::from_secs(30);

/// Names with an answer or a look-up under way.
const NAMES: usize = 4096;

/// If there are so many, they are looked through this often for some that can go.
const SWEEP: Duration = Duration::from_secs(1);

/// A name with more addresses is refused: all of them are kept and vetted.
const ADDRESSES: usize = 256;

/// What a name resolves to, IPv6 and IPv4 in turn.
pub type Addresses = Arc<[IpAddr]>;

/// Looks names up.
pub struct Names {
    resolvers: Resolvers,
    pool: Arc<Pool>,
    table: Mutex<Table>,
    clock: Clock,
}

#[derive(Default)]
struct Table {
    known: HashMap<Box<str>, Arc<Known>>,
    swept: Option<Moment>,
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
    /// Looks up through these resolvers, with sockets of `pool`.
    pub fn new(resolvers: Resolvers, pool: Arc<Pool>, clock: Clock) -> Self {
        Self { resolvers, pool, table: Mutex::default(), clock }
    }

    /// The addresses of a name. One that ends with a dot is taken as it is; otherwise the search list of
    /// `/etc/resolv.conf` applies. Who asks while the name is being looked up waits for the same answer.
    ///
    /// # Errors
    /// [`Fault::Dns`] if it has none, or none within 5 s; [`Fault::Local`] if there are no sockets to ask with.
    pub async fn look_up(&self, name: &str) -> Result<Addresses, Fault> {
        let known = self.known(name);
        // If the one that looks up is cancelled, the next one that waits does it.
        known.0.get_or_init(|| self.resolve(name)).await.addresses.clone()
    }

    /// The look-up of a name that is under way, or whose answer is still good; else a new one.
    fn known(&self, name: &str) -> Arc<Known> {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.known.get(name)
            && known.is_good(now)
        {
            return Arc::clone(known);
        }
        let known = Arc::new(Known::default());
        if table.has_room(name, now) {
            table.known.insert(name.into(), Arc::clone(&known));
        }
        known
    }

    async fn resolve(&self, name: &str) -> Looked {
        let asking = async {
            let _places = self.pool.sockets(SOCKETS).await?;
            self.resolvers.look_up(name).await.map_err(|error| {
                tracing::debug!(name, %error, "a name does not resolve");
                faults::of_name(&error)
            })
        };
        let found = self.clock.timeout(WITHIN, asking).await.unwrap_or(Err(Fault::Dns));
        let now = self.clock.now();
        let found = match found {
            Ok(found) => found,
            Err(fault) => return Looked::failed(now, fault),
        };
        if found.iter().count() > ADDRESSES {
            tracing::debug!(name, "a name has more than 256 addresses");
            return Looked::failed(now, Fault::Dns);
        }
        let seconds = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let kept = Duration::from_secs(seconds.into()).min(KEPT);
        Looked { addresses: Ok(in_turn(found.iter())), until: now + kept }
    }
}

impl Table {
    /// Whether this name may be kept.
    fn has_room(&mut self, name: &str, now: Moment) -> bool {
        let is_due = || self.swept.is_none_or(|swept| now.since(swept) >= SWEEP);
        if self.known.len() >= NAMES && is_due() {
            self.known.retain(|_, known| known.is_good(now) && !Known::is_abandoned(known));
            self.swept = Some(now);
        }
        self.known.len() < NAMES || self.known.contains_key(name)
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
    fn failed(now: Moment, fault: Fault) -> Self {
        Self { addresses: Err(fault), until: now }
    }
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
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::time::UnixMillis;

    fn names() -> Names {
        let clock = Clock::manual(UnixMillis(0));
        let pool = Arc::new(Pool::new(2, clock.clone()));
        let nameserver = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        Names::new(Resolvers::new(&[nameserver], clock.clone()), pool, clock)
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
        assert!(names.table.lock().expect("names").known.len() <= NAMES);
        assert!(Arc::ptr_eq(&names.known("under-way.example."), &under_way));
        assert!(Arc::ptr_eq(&names.known("good.example."), &good));
        names.clock.advance(KEPT);
        assert!(!Arc::ptr_eq(&names.known("good.example."), &good));
    }

    #[tokio::test]
    async fn a_full_table_is_looked_through_once_a_second_at_most() {
        let names = names();
        let half = SWEEP / 2;
        for n in 0..NAMES {
            answer(&names.known(&format!("n{n}.example.")), names.clock.now() + half);
        }
        let is_kept = || Arc::ptr_eq(&names.known("one-more.example."), &names.known("one-more.example."));
        assert!(!is_kept(), "all the others are still good");
        names.clock.advance(half);
        assert!(!is_kept(), "it was looked through half a second ago");
        names.clock.advance(half);
        assert!(is_kept());
    }

    /// With more look-ups under way than are kept, the others are not shared, and nothing is dropped.
    #[tokio::test]
    async fn names_beyond_the_bound_are_looked_up_all_the_same() {
        let names = names();
        let all: Vec<_> = (0..NAMES + 10).map(|n| names.known(&format!("n{n}.example."))).collect();
        assert_eq!(names.table.lock().expect("names").known.len(), NAMES);
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
