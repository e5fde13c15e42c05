//! The specification, as sentences told to a World: real sockets, a real store, and third parties
//! as judges.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "the world around the router lives in real time")]

mod spec {
    pub mod world;

    mod deciding;
    mod degraded;
    mod durability;
    mod model;

    mod api {
        mod commands;
        mod document;
        mod health;
        mod scopes;
        mod tokens;
    }

    mod delivering {
        mod damage;
        mod delivery;
        mod hell;
        mod http2;
        mod lanes;
        mod letters;
        mod official;
        mod options;
        mod promoted;
        pub mod signatures;
        mod snippets;
    }

    mod doctor {
        mod recorded;
        mod refusing;
        mod router;
        mod server;
    }

    mod finding {
        mod charts;
        mod erasure;
        mod explain;
        mod groups;
        pub mod keep;
        mod keeping;
        mod listening;
        mod lists;
        mod live;
        mod preview;
        mod usage;
    }

    mod reaching {
        mod addresses;
        mod connections;
        mod names;
        mod trust;
    }

    mod managing {
        mod commands;
        mod crowd;
        mod hidden;
        mod hooks;
        mod isolation;
        mod locked;
        mod queries;
        mod secrets;
    }

    mod operating {
        mod documents;
        mod guard;
        mod hostile;
        mod hot;
        mod measures;
        mod operator;
        mod store_limit;
        mod stories;
        mod supervision;
        mod tls;
        mod tokens;
        mod versions;
    }

    mod receiving {
        mod closing;
        mod connections;
        mod fuzzed;
        mod hell;
        mod limits;
        mod verification;
    }

    mod store {
        mod backup;
        pub mod command;
        mod damage;
    }

    mod routing {
        mod calls;
        pub mod recordings;
        mod unrouted;
        mod urls;
    }
}
