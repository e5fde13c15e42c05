//! What a world registers of its own, and what is searched when it ends.

use std::path::PathBuf;

use serde_json::Value;

use super::super::World;
use super::{DELIBERATE, STORED, noted, register_hooks, register_keys, search_data, search_file, sources};

/// Tenants whose derived secrets are searched for.
const TENANTS: usize = 100;

impl World {
    /// Registers what the router that has started here has read and made.
    pub fn register_start(&self) {
        let read = |flag| std::fs::read_to_string(self.given(flag)).unwrap_or_default();
        let hooks = read("--hooks");
        register_hooks(&hooks);
        register_keys(&read("--keys-file"));
        sources::register_start(&self.given("--data"), &tenants(&hooks));
    }

    /// Searches what the router has left in the data directory, and the log of all routers of this process.
    pub fn search(&self) {
        self.register_start();
        search_data(&self.given("--data"), STORED);
        ["log", "log.err"].iter().for_each(|name| search_file(&self.path(name), &[]));
        let noted = noted(|leak| !leak.contains(DELIBERATE));
        assert!(noted.is_empty(), "{noted:#?}");
    }

    /// The path that this flag of `switchhook serve` has here.
    fn given(&self, flag: &str) -> PathBuf {
        let args = self.args();
        let at = args.iter().rposition(|arg| arg == flag);
        at.and_then(|at| args.get(at + 1)).map(PathBuf::from).unwrap_or_default()
    }
}

/// The first tenants of a hook table.
fn tenants(hooks: &str) -> Vec<String> {
    if hooks.len() > sources::TABLE_BYTES {
        return Vec::new();
    }
    let table: Value = serde_saphyr::from_str(hooks).unwrap_or_default();
    let hooks = table["hooks"].as_array().into_iter().flatten();
    let named = hooks.filter_map(|hook| hook["tenant"].as_str().or(hook["host"].as_str()));
    named.take(TENANTS).map(str::to_owned).collect()
}
