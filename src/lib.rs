//! Switchhook, the webhook tenant router for LiveKit.
//!
//! # The life of an event
//!
//! Five files, in this order, have all of it:
//!
//! 1. `ingress.rs`, `receive`: LiveKit posts the event. Before the handler runs, `ingress/verify.rs` has checked
//!    the token and the body's hash.
//! 2. `outbox/queue/acknowledge.rs`, `append`: the event joins the inbox, in order of arrival, and its request
//!    waits for the receipt. If the store takes too long or fails, the event is decided from memory and
//!    acknowledged; it is stored later.
//! 3. `outbox/queue/writer.rs`, `run`: one thread takes what has gathered, loads what deciding needs, has it
//!    decided, and stores the changes in one transaction. After the commit the requests are answered 200 and the
//!    deliveries handed on.
//! 4. `calls/decide.rs`, `decide`: for each event its session, its hook (by [`route`], in the [`hooks`] table),
//!    what it does to its call, which waiting events it releases, and its number. Pure.
//! 5. `dispatch.rs`, `run`: the hook's lane starts the delivery when its turn has come, one at a time per call,
//!    many calls at once. The forwarder signs it, dials a vetted address and reads the answer into an attempt;
//!    `dispatch/judge.rs` says what follows. Delivered: the row stays as history, the body is wiped, or stays sealed
//!    where its hook has `keep`. Failed: tried again later. Too old: a dead letter. The writer stores each with its
//!    next transaction.
//!
//! # The house
//!
//! Each row imports only from rows below it; `tests/architecture.rs` enforces that.
//!
//! | row | modules | what they know |
//! | --- | --- | --- |
//! | start | `cli`, `service`, `config` (one below the other) | who starts what; the environment |
//! | doors | `ingress`, `api` | HTTP in; neither knows the other |
//! | answers | `http` | what doors share: problem details, health |
//! | work | `dispatch` | lanes, retries, HTTP out; no SQL |
//! | store | `outbox` | what survives a crash; no HTTP |
//! | outside | `telemetry`, `watch`, `background`, `tapped` | log, metrics, the live stream, changing files, work that can wait, what sockets read and write |
//! | decision | `calls` | all that an event does; pure |
//! | | `registry` | what an edit of the hook table changes, pauses, sealed settings; pure |
//! | | `access` | who may see and change what: API tokens, and the scope each permits; pure |
//! | | `delivery`, `route` (one below the other) | what an attempt is, which hook an event goes to; pure |
//! | knowledge | `hooks` | which hooks there are; pure |
//! | words | `event`, `signature`, `redact`, and above them `samples`; below them `domain`, `ids`, `network`, `wire`, `yaml`; below them `time`, `visible` | no IO, but for the clock |
//!
//! The store's own rooms, each below the one before:
//!
//! | room | what it knows |
//! | --- | --- |
//! | `outbox.rs`, `outbox/{views,table,start,keep}.rs`, `outbox/{views,start}/` | what others ask of the store, in their words; the API within a scope |
//! | `outbox/queue/` | inbox, waiting requests, the writer's thread, what is not written yet; no SQL |
//! | `outbox/engine.rs` | the trait `Engine`: load what was committed, commit changes |
//! | `outbox/sqlite/` | the engine: all SQL, one file per kind of record; `schema/` takes over older releases' databases; `views/` has the API's questions |
//!
//! # Invariants
//!
//! - Every event is decided by `calls::decide`, also from memory, at a replay and in `explain`: there is no second
//!   way. `calls::Change` is the only language in which anything is written.
//! - Events are decided in order of arrival, and stored in the order they were decided. Nothing of a call overtakes
//!   what the call still has waiting.
//! - A 200 means that the event is durable, or that the memory mode is on and log, metrics and `/readyz` say so.
//! - A call's deliveries to a hook are numbered without gaps, and go out in the order of their numbers.
//! - What belongs to tenants reaches the API within a scope only, and only the verification of a token makes one:
//!   see [`scoped`], which the compiler is shown to refuse anything else with.
//! - A tenant's trouble costs no other tenant: no shared worker waits for a receiver.
//! - Every row that has an owner names its tenant. A row keeps what routing read of its event: it is routed again
//!   without its body, which only its delivery needs.
//! - What is asked for over the API is stored in one transaction with its record in the audit log.
//! - No lock is held during IO or across an await.
//! - Every queue, cache and log rate has a bound; every wait a deadline; every task an owner.
//! - Only `config` and `cli` read the environment; only `time` reads the clock.
//!
//! # What is deliberately absent
//!
//! - Plug-ins and scripts: rules are written here, matched exhaustively, and tested.
//! - Transformations of the body: a tenant receives LiveKit's bytes, without what its hook's `redact` names.
//! - Delivery exactly once: after a crash an event may come twice, with the same `webhook-id`.
//! - A choice of stores: [`outbox`] has a trait for engines, and SQLite, which is part of the binary, beneath it.

mod access;
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
mod samples;
mod service;
mod signature;
mod tapped;
mod telemetry;
mod time;
mod visible;
mod watch;
pub mod wire;
mod yaml;

/// What the tests of scopes need: that nothing of a tenant can be asked for without one is shown by what does not
/// compile.
#[doc(hidden)]
pub mod scoped {
    pub use crate::access::{Scope, Tokens};
    pub use crate::calls::AuditRecord;
    pub use crate::outbox::{LetterFilter, ScopedView, Views};
}

pub use config::Config;
pub use service::{Service, ServiceFault};
pub use time::{Clock, UnixMillis};
