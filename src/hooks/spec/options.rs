//! The keys that have defaults, and the operator's limits.

use std::sync::Arc;
use std::time::Duration;

use super::fields::Fields;
use super::reader::SpecReader;
use crate::event;
use crate::hooks::hook::Tenant;
use crate::hooks::limits::{Most, TenantLimits};
use crate::hooks::settings::{Events, Format, KeyPair, Retry, Settings, Sign};
use crate::yaml::{TextFault, TextPosition, Value};

/// Keys that belong to one hook alone; [`KEYS`] may stand in `defaults:`, too.
pub const OWN: [&str; 10] =
    ["host", "url", "tenant", "secret", "secrets", "livekit", "livekit_sign", "numbers", "trunks", "now"];

/// Keys of a hook that may stand in `defaults:`, too.
pub const KEYS: [&str; 12] = [
    "events",
    "sign",
    "format",
    "headers",
    "timeout",
    "retry",
    "concurrency",
    "rate",
    "order_wait",
    "keep",
    "redact",
    "paused",
];

/// Names in `events.include` and in `events.exclude`, at most.
const NAMES: usize = 64;

/// Paths in `redact`, and bytes of each, at most: as many levels of an event are walked by recursion.
const PATHS: usize = 64;
const PATH_BYTES: usize = 256;

/// Keys of `limits:`, and of each tenant in it.
const LIMITS: [&str; 8] =
    ["hooks", "concurrency", "timeout", "max_age", "pending", "pending_bytes", "posts", "keep"];

const HOUR: Duration = Duration::from_secs(3600);

/// Nobody's bodies of delivered events are kept for longer.
const LONGEST_KEEP: Duration = Duration::from_secs(72 * 3600);

/// What the hooks file sets for hooks of the API, too.
#[derive(Debug, Default)]
pub struct Terms {
    /// `defaults:`.
    pub(super) base: Base,
    /// `limits:`.
    pub(super) limits: Arc<TenantLimits>,
}

impl Terms {
    /// What each tenant may have.
    pub fn limits(&self) -> Arc<TenantLimits> {
        Arc::clone(&self.limits)
    }

    /// The most a tenant may have.
    pub fn most(&self, tenant: &Tenant) -> Most {
        self.limits.of(Some(tenant))
    }

    /// The attempts in flight of a hook that does not set them.
    pub fn usual_concurrency(&self) -> usize {
        self.base.settings.concurrency
    }
}

/// What hooks start from.
#[derive(Debug, Default)]
pub struct Base {
    settings: Arc<Settings>,
    /// `sign` holds `livekit`: each hook needs a pair.
    livekit: bool,
}

impl SpecReader<'_> {
    pub fn limits(&mut self, fields: &mut Fields) -> TenantLimits {
        let mut limits = TenantLimits::default();
        let known = [&LIMITS[..], &["tenants"]].concat();
        let Some((_, mut given)) = self.map(fields, "limits", "limits.", &known) else { return limits };
        limits.all = self.most(&mut given, limits.all);
        let Some(node) = given.take("tenants") else { return limits };
        let Value::Map(tenants) = node.value else {
            let message = format!("a map of tenants belongs here, not {}", node.value.kind());
            self.fault(node.place, "limits.tenants", message);
            return limits;
        };
        for (key, node) in tenants {
            let Some(tenant) = Tenant::new(&key.name) else {
                self.fault(key.place, "limits.tenants", format!("{:?} is no tenant name", key.name));
                continue;
            };
            let Value::Map(entries) = node.value else {
                let message = format!("a map of limits belongs here, not {}", node.value.kind());
                self.fault(node.place, "limits.tenants", message);
                continue;
            };
            let mut given = self.fields("limits.tenants.", entries, &LIMITS);
            let most = self.most(&mut given, limits.all);
            if limits.tenants.insert(tenant, most).is_some() {
                self.fault(key.place, "limits.tenants", format!("{} stands here twice", key.name));
            }
        }
        limits
    }

    fn most(&mut self, given: &mut Fields, base: Most) -> Most {
        Most {
            hooks: self.count(given, "hooks", (1, 1_000_000)).unwrap_or(base.hooks),
            concurrency: self.count(given, "concurrency", (1, 512)).unwrap_or(base.concurrency),
            timeout: self
                .duration(given, "timeout", (Duration::from_millis(100), Duration::from_secs(300)))
                .unwrap_or(base.timeout),
            max_age: self
                .duration(given, "max_age", (Duration::from_secs(1), 720 * HOUR))
                .unwrap_or(base.max_age),
            pending: self.count(given, "pending", (1, 100_000_000)).unwrap_or(base.pending),
            pending_bytes: self
                .count(given, "pending_bytes", (1 << 20, 1 << 40))
                .map_or(base.pending_bytes, |bytes| bytes as u64),
            posts: self.count(given, "posts", (1, 1_000_000)).unwrap_or(base.posts),
            keep: self.duration(given, "keep", (Duration::ZERO, LONGEST_KEEP)).unwrap_or(base.keep),
        }
    }

    pub fn defaults(&mut self, fields: &mut Fields, limits: &TenantLimits) -> Base {
        let none = Base::default();
        let Some(node) = fields.take("defaults") else { return none };
        let Value::Map(entries) = node.value else {
            self.fault(node.place, "defaults", format!("a map belongs here, not {}", node.value.kind()));
            return none;
        };
        let (own, entries): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _)| OWN.contains(&key.name.as_str()));
        for (key, _) in own {
            self.fault(key.place, &key.name, "it belongs to a single hook, not to all of them");
        }
        let mut given = self.fields("", entries, &KEYS);
        let sign = self.sign(&mut given);
        let settings = self.settings(&mut given, &none.settings, &limits.all);
        let (standard, livekit) = sign.unwrap_or((true, false));
        Base { settings: Arc::new(Settings { sign: Sign { standard, livekit: None }, ..settings }), livekit }
    }

    /// A hook's settings: its own over the defaults. Most hooks have none, and share them.
    pub fn hook_settings(
        &mut self,
        fields: &mut Fields,
        base: &Base,
        livekit: Option<&KeyPair>,
        most: &Most,
        hook: TextPosition,
    ) -> Arc<Settings> {
        let plain = !fields.has_any(&KEYS) && !fields.has_any(&["livekit_sign"]);
        if plain && !base.livekit && most.holds(&base.settings) {
            return Arc::clone(&base.settings);
        }
        let place = fields.place_of(&["sign", "format", "livekit_sign"]).unwrap_or(hook);
        let own = self.key_pair(fields, "livekit_sign").map(|(_, pair)| pair);
        let had_sign = fields.has_any(&["sign"]);
        let sign = self.sign(fields);
        let settings = self.settings(fields, &base.settings, most);
        let (standard, wanted) = match sign {
            Some(sign) => sign,
            // A faulty `sign` is reported already.
            None if had_sign => (true, false),
            None => (base.settings.sign.standard, base.livekit),
        };
        let pair = if wanted { own.or_else(|| livekit.cloned()) } else { None };
        if wanted && pair.is_none() {
            let fault = TextFault::new(place, "sign", "livekit needs a key to sign with");
            self.faults.push(fault.fix("livekit_sign: {key: …, secret: …}"));
        }
        if pair.is_some() && settings.format == Format::CloudEvents {
            let message = "cloudevents cannot be signed as livekit: its receivers expect the raw body";
            self.fault(place, "format", message);
        }
        if pair.is_some() && settings.headers.iter().any(|(name, _)| name == "authorization") {
            self.fault(place, "headers", "authorization is what sign: [livekit] sets");
        }
        Arc::new(Settings { sign: Sign { standard, livekit: pair }, ..settings })
    }

    /// Everything but `sign`.
    fn settings(&mut self, fields: &mut Fields, base: &Settings, most: &Most) -> Settings {
        Settings {
            events: self.events(fields).unwrap_or_else(|| base.events.clone()),
            sign: base.sign.clone(),
            format: self.format(fields).unwrap_or(base.format),
            headers: self.headers(fields, &base.headers),
            timeout: self
                .duration(fields, "timeout", (Duration::from_millis(100), most.timeout))
                .unwrap_or(base.timeout.min(most.timeout)),
            retry: self.retry(fields, base.retry, most.max_age),
            concurrency: self
                .count(fields, "concurrency", (1, most.concurrency))
                .unwrap_or(base.concurrency.min(most.concurrency)),
            rate: self.number(fields, "rate", (0.01, 10_000.0)).or(base.rate),
            order_wait: self
                .duration(fields, "order_wait", (Duration::ZERO, HOUR))
                .unwrap_or(base.order_wait),
            keep: self
                .duration_up_to(fields, "keep", ("limits.keep", most.keep))
                .unwrap_or(base.keep.min(most.keep)),
            redact: self.redact(fields).unwrap_or_else(|| base.redact.clone()),
            paused: self.flag(fields, "paused").unwrap_or(base.paused),
        }
    }

    fn events(&mut self, fields: &mut Fields) -> Option<Events> {
        let (_, mut given) = self.map(fields, "events", "events.", &["include", "exclude"])?;
        let mut names = |key| {
            self.texts(&mut given, key, NAMES, |reader, place, name| {
                let known = event::NAMES.contains(&name);
                if !known {
                    let fault = TextFault::new(place, "events", format!("LiveKit has no event {name:?}"));
                    reader.faults.push(fault.fix(format!("one of: {}", event::NAMES.join(", "))));
                }
                known.then(|| name.to_owned())
            })
        };
        Some(Events { include: names("include"), exclude: names("exclude") })
    }

    /// Whether `sign` has `standard` and `livekit`.
    fn sign(&mut self, fields: &mut Fields) -> Option<(bool, bool)> {
        let node = fields.take("sign")?;
        let Value::List(items) = &node.value else {
            self.fault(node.place, "sign", format!("a list belongs here, not {}", node.value.kind()));
            return None;
        };
        let (mut standard, mut livekit) = (false, false);
        for item in items {
            match self.text(item, "sign")? {
                "standard" => standard = true,
                "livekit" => livekit = true,
                other => {
                    let fault =
                        TextFault::new(item.place, "sign", format!("there is no way to sign {other:?}"));
                    self.faults.push(fault.fix("standard, livekit, or both"));
                    return None;
                }
            }
        }
        if items.is_empty() {
            self.fault(node.place, "sign", "it is empty: an unsigned delivery could be anybody's");
            return None;
        }
        Some((standard, livekit))
    }

    fn format(&mut self, fields: &mut Fields) -> Option<Format> {
        let node = fields.take("format")?;
        let name = self.text(&node, "format")?;
        let format = Format::named(name);
        if format.is_none() {
            let fault = TextFault::new(node.place, "format", format!("there is no format {name:?}"));
            self.faults.push(fault.fix("raw or cloudevents"));
        }
        format
    }

    fn retry(&mut self, fields: &mut Fields, base: Retry, oldest: Duration) -> Retry {
        let known = ["initial", "factor", "max", "max_age"];
        let Some((place, mut given)) = self.map(fields, "retry", "retry.", &known) else {
            return Retry { max_age: base.max_age.min(oldest), ..base };
        };
        let bounds = (Duration::from_millis(10), HOUR);
        let retry = Retry {
            initial: self.duration(&mut given, "initial", bounds).unwrap_or(base.initial),
            factor: self
                .number(&mut given, "factor", (1.0, 10.0))
                .map_or(base.factor, |factor| factor as f32),
            max: self.duration(&mut given, "max", (Retry::SHORTEST_MAX, 24 * HOUR)).unwrap_or(base.max),
            max_age: self
                .duration(&mut given, "max_age", (Duration::from_secs(1), oldest))
                .unwrap_or(base.max_age.min(oldest)),
        };
        if retry.initial > retry.max {
            self.fault(place, "retry", "initial is longer than max");
        }
        retry
    }

    fn redact(&mut self, fields: &mut Fields) -> Option<Vec<String>> {
        if !fields.has_any(&["redact"]) {
            return None;
        }
        Some(self.texts(fields, "redact", PATHS, |reader, place, path| {
            let named =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let fine = path.len() <= PATH_BYTES && path.split('.').all(named);
            if !fine {
                let shown: String = path.chars().take(PATH_BYTES).collect();
                let fault =
                    TextFault::new(place, "redact", format!("{shown:?} is no dotted name of a field"));
                reader.faults.push(fault.fix("as room.turnPassword; at most 256 characters"));
            }
            fine.then(|| path.to_owned())
        }))
    }
}
