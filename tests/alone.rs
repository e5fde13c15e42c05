//! Tests that take the whole machine, or that are judged by the clock: each runs while no other does.
//!
//! Test targets run one after the other; within this one, [`turn`] lets one test go at a time. The
//! module `store_faults` is the stage of that name in `tests/run`, which also runs what is ignored here
//! because it takes long.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "the world around the router lives in real time")]

#[path = "spec/world.rs"]
#[expect(dead_code, unused_imports, reason = "it is the specification's world; here a part of it is used")]
mod world;

mod alone {
    mod crowd;
    mod demo;
    mod descriptors;
    mod doors;
    mod ending;
    mod floods;
    mod neighbours;
    mod outward;
    mod reloads;

    mod store_faults {
        mod begin;
        mod destination;
        pub mod disk;
        mod file_system;
        mod health;
        mod kill;
        mod moved;
        mod restarts;
        mod running;
        mod sender;
        mod slow;
    }
}

/// Waits until no other test of this target runs; the next one waits until the guard is dropped.
async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}
