//! The tenants' receivers and the hooks file that leads to them.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::expected::Expected;
use super::operator::reloaded_host;
use super::receiver::{Arrival, Receiver};
use super::script::{At, TENANTS};
use super::sender::late_host;
use crate::world::World;

/// All that comes after the last start has come within this time.
const REST: Duration = Duration::from_secs(60);

/// The receivers, in the order of [`At`].
pub struct Receivers {
    pub all: [Receiver; TENANTS],
    /// The failing one fails.
    pub down: Arc<AtomicBool>,
    /// Calls of which dead letters are taken.
    pub opened: Arc<Mutex<HashSet<String>>>,
}

/// The secret of what the hooks file leads to a receiver.
fn secret(at: At) -> String {
    // No byte again and again: SQLite leaves such runs in its pages, and the search for secrets would find them.
    let bytes: [u8; 24] = std::array::from_fn(|i| (i as u8).wrapping_mul(73) ^ (at as u8 + 1));
    format!("whsec_{}", STANDARD.encode(bytes))
}

impl Receivers {
    pub async fn open() -> Self {
        let (down, opened) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<HashSet<String>>>::default());
        let (is_down, is_open) = (Arc::clone(&down), Arc::clone(&opened));
        // Every fourth event fails at first, too, so that retries are under way at all times.
        let fails_at_first = |one: &Arrival| one.attempt == 1 && one.body.is_multiple_of(4);
        let fails = move |one: &Arrival| is_down.load(Ordering::Relaxed) || fails_at_first(one);
        let is_opened = move |one: &Arrival| is_open.lock().expect("calls").contains(&one.call);
        let (ill, absent) = (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND);
        let well = async |at| Receiver::open(Some(secret(at)), ill, |_| true).await;
        let all = [
            well(At::One).await,
            well(At::Two).await,
            Receiver::open(Some(secret(At::Failing)), ill, move |one| !fails(one)).await,
            well(At::Late).await,
            // It lives, so that no breaker keeps what is too old from being given up.
            Receiver::open(Some(secret(At::Letters)), absent, is_opened).await,
            well(At::Kept).await,
            well(At::Reloaded).await,
            Receiver::open(None, ill, |_| true).await,
        ];
        Self { all, down, opened }
    }

    pub fn url(&self, at: At) -> &str {
        self.all[at as usize].url()
    }

    /// Waits until all that was posted has been taken.
    pub async fn take(&self, expected: &Expected) {
        let began = Instant::now();
        for (tenant, receiver) in self.all.iter().enumerate() {
            loop {
                let missing = expected.missing(tenant, &receiver.arrivals());
                if missing.is_empty() {
                    break;
                }
                let lost = missing.len();
                assert!(began.elapsed() < REST, "{lost} of {} lost: {missing:?}", expected.count(tenant));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The hooks file: what the operator has written so far.
pub struct HooksFile {
    world: Arc<World>,
    /// The entries that are always there.
    entries: String,
    urls: [String; 2],
    /// Hosts that came with a start, and hosts that came while the router ran.
    pub late: usize,
    pub reloaded: usize,
}

impl HooksFile {
    pub fn new(world: Arc<World>, receivers: &Receivers) -> Self {
        let entry = |host: &str, at: At, more: &str| entry(host, receivers.url(at), at, more);
        let impatient = ", order_wait: 0s, retry: {initial: 300ms, max_age: 1s}";
        let entries = [
            entry("one.example", At::One, ""),
            entry("two.example", At::Two, ""),
            entry("failing.example", At::Failing, ""),
            entry("dead.example", At::Letters, impatient),
            entry("kept.example", At::Kept, ", keep: 1h"),
        ];
        let urls = [At::Late, At::Reloaded].map(|at| receivers.url(at).to_owned());
        Self { world, entries: entries.concat(), urls, late: 0, reloaded: 0 }
    }

    /// Writes the file.
    pub fn write(&self) {
        self.world.hooks(&self.text());
    }

    /// Writes it with a fault.
    pub fn write_faulty(&self) {
        self.world.hooks(&format!("{}  - {{host: '', url: nowhere}}\n", self.text()));
    }

    fn text(&self) -> String {
        let mut text = format!("defaults: {{retry: {{initial: 50ms, max: 1s}}}}\nhooks:\n{}", self.entries);
        let [late, reloaded] = &self.urls;
        for number in 0..self.late {
            let _ = text.write_str(&entry(&late_host(number), late, At::Late, ""));
        }
        for number in 0..self.reloaded {
            let _ = text.write_str(&entry(&reloaded_host(number), reloaded, At::Reloaded, ""));
        }
        text
    }
}

fn entry(host: &str, url: &str, at: At, more: &str) -> String {
    format!("  - {{host: {host}, url: '{url}', secret: '{}'{more}}}\n", secret(at))
}
