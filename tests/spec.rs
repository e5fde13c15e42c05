//! The specification, as sentences told to a World: real sockets, a real store, and third parties
//! as judges.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "the world around the router lives in real time")]

mod spec {
    pub mod world;

    mod calls;
    mod deciding;
    mod degraded;
    mod delivery;
    mod durability;
    mod hot;
    mod letters;
    mod model;
    mod operator;
    mod options;
    mod recordings;
    mod signatures;
    mod snippets;
    mod unrouted;
    mod urls;
    mod verification;
}
