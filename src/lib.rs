//! Switchhook, the webhook tenant router for LiveKit.
//!
//! # The life of an event
//!
//! 1. LiveKit posts it. [`service`] accepts the connection, [`ingress`] checks the token before the
//!    body is read, and the body's hash after.
//! 2. The post waits in the [`outbox`]'s inbox, in order of arrival. The writer's thread takes what
//!    has gathered, reads each [`event`], asks [`route`] for its hook in the [`hooks`] table, and
//!    stores events and deliveries in one transaction.
//! 3. After the commit the request is answered 200, and the delivery goes to [`dispatch`].
//! 4. The hook's lane decides when its turn has come: one at a time per call, many calls at once.
//! 5. The forwarder signs it ([`signature`]), dials a vetted address ([`network`]) and reads the
//!    answer into an attempt ([`delivery`]); `dispatch::judge` says what follows from it.
//! 6. Delivered: the row stays as history, the body goes. Failed: it is due again later. Too old:
//!    a dead letter. The writer records each with the next transaction.
//!
//! # The house
//!
//! Each row imports only from rows below it; `tests/architecture.rs` holds it to that.
//!
//! | row | modules | what they know |
//! | --- | --- | --- |
//! | start | `cli` → `service` → `config` | who starts what; the environment |
//! | doors | `ingress`, `api` | HTTP in; neither knows the other |
//! | answers | `http` | what doors share: problem details, health |
//! | work | `dispatch` | lanes, retries, HTTP out; no SQL |
//! | store | `outbox` | what survives a crash; no HTTP |
//! | outside | `telemetry`, `watch`, `background` | log, metrics, changing files, work that can wait |
//! | decision | `delivery`, `route` | where an event goes, what an attempt is; pure |
//! | knowledge | `hooks` | who wants what; pure |
//! | words | `event`, `domain`, `signature`, `redact`, `network`, `yaml`, `ids`, `time` | no IO |
//!
//! # Invariants
//!
//! - Deciding and storing are one step, in order of arrival; memory follows the commit.
//! - An answer of 200 means the event is durable, or that the loud memory mode is on.
//! - A tenant's trouble costs no other tenant: no shared worker waits for a receiver.
//! - Every queue, cache and log rate has a bound; every wait a deadline; every task an owner.
//! - Only `config` reads the environment; only `time` reads the clock.
//!
//! # What is deliberately absent
//!
//! A trait for the store (it comes with the second store), a plug-in system, transformations of the
//! body: a tenant receives LiveKit's bytes.

mod api;
mod background;
#[doc(hidden)]
pub mod bench;
mod calls;
pub mod cli;
mod config;
mod delivery;
mod dispatch;
mod domain;
mod event;
mod hooks;
mod http;
mod ids;
mod ingress;
mod network;
mod outbox;
mod redact;
mod registry;
mod route;
mod service;
mod signature;
mod telemetry;
mod time;
mod watch;
mod yaml;

pub use config::Config;
pub use service::{Service, ServiceFault};
pub use time::{Clock, UnixMillis};
