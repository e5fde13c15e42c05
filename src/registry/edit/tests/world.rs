//! A registry with the store beneath it, and those who ask for edits.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::access::{Grant, Scope};
use crate::hooks::{Around, HookTable, HostPattern, Layer, Number, Source, Tenant, Terms, parse_file};
use crate::ids::HookId;
use crate::network::Network;
use crate::registry::edit::{EditGround, EditRefusal, EditRequest, Edited, Precondition, TableEdit};
use crate::registry::kept::{Generation, Vault};
use crate::registry::plan::Registry;
use crate::registry::{
    Difference, HookChange, HookRow, ListedHook, Pause, PausedBy, Pauses, Plan, StoredHooks, plan,
};
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

pub const NOW: UnixMillis = UnixMillis(1_795_240_012_000);

/// A registry, and the store beneath it.
pub struct World {
    pub registry: Registry,
    pub table: HookTable,
    pub rows: Vec<HookRow>,
    pub pauses: Pauses,
    pub generations: HashMap<String, Generation>,
    pub now: UnixMillis,
    pub master: MasterSecret,
    /// Whether the host of every edit has calls in progress.
    pub calling: bool,
}

pub fn around() -> Around<'static> {
    let network = Network { allowed: vec!["10.0.0.0/8".parse().expect("a network")], allow_http: true };
    Around::new(network, |_: Source<'_>| Err("there are no secrets".into()))
        .beside_keys(|key| key == "PLATFORM")
}

impl World {
    pub fn of(file: &str) -> Self {
        let master = MasterSecret::parse(&"m".repeat(32)).expect("strong");
        let mut world = Self {
            registry: Registry {
                vault: Vault::new(&master, HashMap::new()),
                terms: Terms::default(),
                next_id: 1,
            },
            table: HookTable::default(),
            rows: Vec::new(),
            pauses: Pauses::default(),
            generations: HashMap::new(),
            now: NOW,
            master,
            calling: false,
        };
        world.file(file);
        world
    }

    /// The hooks file is this from here on; what that changed.
    pub fn file(&mut self, text: &str) -> Difference {
        let file = parse_file(text, &around()).expect("a table");
        let next_id = self.rows.iter().map(|row| row.id.0).max().unwrap_or(0) + 1;
        let busy = self.rows.iter().map(|row| row.id).collect();
        let stored = StoredHooks {
            hooks: self.rows.clone(),
            generations: self.generations.clone(),
            busy,
            next_id,
            ..StoredHooks::default()
        };
        let planned = plan(stored, file, &self.table, &self.master, self.now);
        let Plan { table, registry, changes, paused, resumed, difference, .. } = planned;
        (self.table, self.registry) = (table, registry);
        changes.iter().for_each(|change| self.store(change));
        paused.iter().for_each(|hook| self.pause(*hook, PausedBy::File));
        resumed.iter().for_each(|hook| self.unpause(*hook));
        difference
    }

    pub fn pause(&mut self, id: HookId, by: PausedBy) {
        self.pauses.pause(id, self.now, by);
        self.rows.iter_mut().filter(|row| row.id == id).for_each(|row| row.pause.begin(NOW, by));
    }

    pub fn unpause(&mut self, id: HookId) {
        self.pauses.resume(id, self.now);
        self.rows.iter_mut().filter(|row| row.id == id).for_each(|row| row.pause.end(NOW));
    }

    pub fn store(&mut self, change: &HookChange) {
        match change.clone() {
            HookChange::Add { id, host, tenant, url, kept, origin } => {
                let (sealed, removed, pause) = (kept, false, Pause::default());
                let (is_damaged, is_locked) = (false, false);
                let row =
                    HookRow { id, host, tenant, url, is_locked, sealed, origin, removed, pause, is_damaged };
                self.rows.push(row);
            }
            HookChange::Alter { id, url, kept, version, at } => {
                let row = self.rows.iter_mut().find(|row| row.id == id).expect("a row");
                (row.url, row.sealed) = (url, kept);
                (row.origin.version, row.origin.changed_at) = (version, Some(at));
            }
            HookChange::Remove { id, .. } => {
                self.rows.iter_mut().find(|row| row.id == id).expect("a row").removed = true;
            }
            HookChange::Move { .. } | HookChange::Cut { .. } => {}
        }
    }

    pub fn edit(&mut self, scope: &Scope, edit: &EditRequest) -> Result<TableEdit, EditRefusal> {
        let host = edit.host().map(ToString::to_string);
        let is_it = |row: &&HookRow| !row.removed && Some(&row.host) == host.as_ref();
        let rows = self.rows.iter().filter(is_it).cloned().collect();
        let (table, around) = (self.table.clone(), around());
        let ground = EditGround {
            table: &table,
            pauses: &self.pauses,
            rows,
            calling: self.calling,
            around: &around,
            now: self.now,
        };
        let edit = self.registry.plan_edit(scope, edit, &ground)?;
        self.registry.is_stored(&edit, self.now);
        if let Some((tenant, number)) = &edit.rotated {
            assert_eq!(*number, self.registry.vault.generation(tenant).number);
            self.generations.insert(tenant.to_string(), self.registry.vault.generation(tenant));
        }
        edit.changes.iter().for_each(|change| self.store(change));
        edit.paused.iter().for_each(|hook| self.pause(*hook, PausedBy::Api));
        edit.resumed.iter().for_each(|hook| self.unpause(*hook));
        self.table = edit.table.clone();
        self.agrees();
        Ok(edit)
    }

    /// The table that edits made is the one a start would plan.
    pub fn agrees(&self) {
        let stored = StoredHooks {
            hooks: self.rows.clone(),
            generations: self.generations.clone(),
            busy: self.rows.iter().map(|row| row.id).collect(),
            ..StoredHooks::default()
        };
        let mut api = stored.clone();
        api.hooks.retain(|row| row.origin.layer == Layer::Api && !row.removed);
        let file = self.table.hooks().filter(|hook| hook.origin.layer == Layer::File).count();
        let planned = plan(api, (Vec::new(), Terms::default()), &self.table, &self.master, self.now).table;
        let aside = self.table.aside();
        assert_eq!(self.table.len(), file + planned.len() - aside.hooks.len());
        for hook in planned.hooks().filter(|hook| !aside.hooks.contains_key(&hook.host)) {
            let known = self.table.by_host(&hook.host).expect("in force");
            assert_eq!((known.id, &known.url, known.origin), (hook.id, &hook.url, hook.origin));
            assert_eq!((&known.secrets, &known.settings), (&hook.secrets, &hook.settings));
            assert!(self.table.by_id(hook.id).is_some_and(|other| Arc::ptr_eq(other, known)));
            assert!(self.table.hooks_of(&hook.tenant).iter().any(|other| Arc::ptr_eq(other, known)));
            for number in &known.numbers {
                assert!(self.table.by_number(number.as_str()).is_some_and(|other| other.id == hook.id));
            }
        }
    }

    pub fn put(&mut self, scope: &Scope, host: &str, spec: Value) -> Result<Edited, EditRefusal> {
        self.edit(scope, &put(host, spec)).map(|edit| edit.edited)
    }

    pub fn find(&self, scope: &Scope, host: &str) -> Option<ListedHook> {
        ListedHook::find(&self.table, &self.pauses, scope, &pattern(host))
    }
}

pub fn pattern(host: &str) -> HostPattern {
    HostPattern::parse(host).expect("a host")
}

pub fn put(host: &str, spec: Value) -> EditRequest {
    EditRequest::Put { host: pattern(host), spec, now: false, precondition: Precondition::None }
}

pub fn delete(host: &str) -> EditRequest {
    EditRequest::Delete { host: pattern(host), now: false, precondition: Precondition::None }
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("a name")
}

/// A tenant's token for hosts below `{name}.example` and two numbers.
pub fn scope(name: &str) -> Scope {
    let hosts = vec![pattern(&format!("*.{name}.example")), pattern("shared.example")];
    Scope::of_tenant_for_tests(Grant {
        tenant: tenant(name),
        hosts,
        numbers: ["100", "200"].into_iter().filter_map(Number::new).collect(),
        trunks: vec!["ST_1".into()],
        livekit: vec!["APIshared".into()],
        private: false,
    })
}

pub fn url(path: &str) -> Value {
    json!({ "url": format!("https://api.example/{path}") })
}
