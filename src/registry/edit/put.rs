//! A hook of the API is written.

use std::sync::Arc;

use super::checks::{covered, free, within_limits};
use super::hidden::with_stored_query;
use super::kinds::{EditGround, EditRefusal, Edited, Found, Precondition, TableEdit};
use super::out_of_force;
use crate::access::Scope;
use crate::hooks::{Entry, Hook, HookTable, HostPattern, Layer, Origin, Tenant, read_entry};
use crate::ids::HookId;
use crate::registry::difference::parts;
use crate::registry::kept::KeptHook;
use crate::registry::pauses::PausedBy;
use crate::registry::plan::{Registry, unusual};
use crate::registry::records::HookChange;
use crate::yaml::{TextFault, TextPosition};

impl Registry {
    pub(super) fn put(
        &mut self,
        scope: &Scope,
        (host, spec): (&HostPattern, &serde_json::Value),
        (now, precondition): (bool, &Precondition),
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        if !scope.covers_host(host) {
            return Err(EditRefusal::NotCovered { field: "host", value: host.to_string() });
        }
        let private = scope.may_dial_private();
        let around = ground.around.of_api(private, |key| scope.covers_livekit(key));
        let found = self.find(ground);
        // An operator who does not say whose it is changes nothing about that.
        let known_owner = || found.as_ref().and_then(|found| Tenant::new(&found.row.tenant));
        let owner = scope.tenant().cloned().or_else(known_owner);
        if owner_is_damaged(scope, spec, found.as_ref()) {
            return Err(EditRefusal::Faults(vec![unknown_owner()]));
        }
        let is_readable = found.as_ref().is_some_and(|found| self.effective(found, ground).is_some());
        let conditions = (precondition, is_readable);
        let whole = with_stored_query(scope, (host, spec), found.as_ref(), conditions, ground.table)?;
        let read = read_entry(host, owner.as_ref(), whole.as_ref(), &around, &self.terms);
        let entry = Entry { private, ..read.map_err(EditRefusal::Faults)? };
        covered(scope, &entry)?;
        if ground.table.by_host(host).is_some_and(|hook| hook.origin.layer == Layer::File) {
            return Err(EditRefusal::OfFile);
        }
        if found.as_ref().is_some_and(|found| !scope.sees(&found.row.tenant)) {
            return Err(EditRefusal::Taken { field: "host", value: host.to_string() });
        }
        precondition.check(found.as_ref().map(Found::etag), is_readable)?;
        // Another tenant's from here on: another hook.
        let (known, passed_on) = match found {
            Some(found) if found.row.tenant != entry.tenant.as_str() => (None, Some(found)),
            found => (found, None),
        };
        match known {
            Some(known) => self.alter(&known, entry, now, ground),
            None => self.add(entry, passed_on.as_ref(), now, ground),
        }
    }

    fn add(
        &mut self,
        entry: Entry,
        passed_on: Option<&Found<'_>>,
        now: bool,
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        let mut table = ground.table.clone();
        if let Some(found) = passed_on {
            out_of_force(&mut table, &entry.host, found.row, ground.calling);
        }
        free(&table, &entry, None)?;
        within_limits(&table, &self.terms, &entry, None)?;
        let id = HookId(self.next_id);
        self.next_id += 1;
        let at = Some(ground.now);
        let origin = Origin { layer: Layer::Api, version: 1, created_at: at, changed_at: at };
        let kept = kept(&entry, Vec::new());
        let (host, tenant, url) = (entry.host.to_string(), entry.tenant.to_string(), entry.url.to_string());
        let mut edit = TableEdit::new(table, ground.calling);
        if let Some(found) = passed_on {
            edit.changes.push(HookChange::Remove { id: found.row.id, at: ground.now });
            edit.moves.extend(now.then_some(HookChange::Cut { id: found.row.id }));
        }
        let sealed = self.vault.seal(id, &kept);
        edit.changes.push(HookChange::Add { id, host, tenant, url, kept: sealed, origin });
        edit.paused.extend(entry.settings.paused.then_some(id));
        let secrets = self.vault.signing(&entry.tenant, &kept, ground.now);
        let hook = Arc::new(Hook::new(entry, id, secrets, origin));
        edit.table.put(Arc::clone(&hook));
        let before = passed_on.and_then(|found| self.effective(found, ground));
        let (shows_secret, is_new) = (!hook.has_given_secret, passed_on.is_none());
        edit.lanes.push(id);
        edit.edited =
            Edited { before, after: Some(hook), is_change: true, is_new, shows_secret, ..Edited::default() };
        Ok(edit)
    }

    fn alter(
        &self,
        known: &Found<'_>,
        entry: Entry,
        now: bool,
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        let row = known.row;
        // Of one that cannot be read, only the older secrets are lost.
        let older =
            known.kept.as_ref().map(|kept| self.vault.older(&entry.tenant, kept, &entry.secrets, ground.now));
        let (older, resigned) = older.unwrap_or_default();
        let kept = kept(&entry, older);
        if resigned && self.vault.is_beyond(&entry.tenant, &kept, ground.now) {
            return Err(EditRefusal::ManySecrets);
        }
        let moved = row.url != entry.url.as_str();
        // A URL that was chosen without private targets must not reach them: its calls move to the new one.
        let gains_reach = kept.private && known.kept.as_ref().is_none_or(|known| !known.private);
        let mut edit = TableEdit::new(ground.table.clone(), ground.calling);
        if now || gains_reach {
            let (url, format) = (entry.url.to_string(), entry.settings.format);
            edit.moves.push(HookChange::Move { id: row.id, url, format });
        }
        let before = self.effective(known, ground);
        // The secrets that are older change by themselves.
        let is_same = known
            .kept
            .as_ref()
            .is_some_and(|known| KeptHook { older: kept.older.clone(), ..known.clone() } == kept);
        if is_same && !moved {
            // Calls that began before an earlier change may still have its URL; without calls nothing is to be moved.
            edit.moves.retain(|_| ground.calling);
            edit.edited = Edited { after: before.clone(), before, ..Edited::default() };
            return Ok(edit);
        }
        free(ground.table, &entry, Some(row.id))?;
        within_limits(ground.table, &self.terms, &entry, Some(row.id))?;
        let mut origin = row.origin;
        (origin.version, origin.changed_at) = (row.origin.version + 1, Some(ground.now));
        let (sealed, version) = (self.vault.seal(row.id, &kept), origin.version);
        let url = entry.url.to_string();
        edit.changes.push(HookChange::Alter { id: row.id, url, kept: sealed, version, at: ground.now });
        let was_paused = before.as_ref().is_some_and(|hook| hook.settings.paused);
        let pause = ground.pauses.of(row.id);
        match (entry.settings.paused, pause.by) {
            (true, None | Some(PausedBy::Gone)) => edit.paused.push(row.id),
            (false, Some(PausedBy::Gone)) if moved => edit.resumed.push(row.id),
            (false, Some(_)) if was_paused => edit.resumed.push(row.id),
            (true, Some(PausedBy::File | PausedBy::Api)) | (false, _) => {}
        }
        let secrets = self.vault.signing(&entry.tenant, &kept, ground.now);
        let hook = Arc::new(Hook::new(entry, row.id, secrets, origin));
        edit.table.put(Arc::clone(&hook));
        forget_aside(&mut edit.table, row.id);
        let parts = before.as_ref().map(|before| parts(before, &hook)).unwrap_or_default();
        // A derived secret that stands for a given one was not shown before.
        let shows_secret =
            !hook.has_given_secret && before.as_ref().is_none_or(|before| before.has_given_secret);
        edit.lanes.push(row.id);
        edit.edited =
            Edited { before, after: Some(hook), is_change: true, is_new: false, shows_secret, parts };
        Ok(edit)
    }
}

/// A hook that is written is readable again, and what it claimed before does not count.
fn forget_aside(table: &mut HookTable, id: HookId) {
    let aside = table.aside();
    let is_noted =
        aside.unreadable.iter().any(|hook| hook.id == id) || aside.claims.iter().any(|claim| claim.id == id);
    // Only then is the part of the table that tables share copied.
    if is_noted {
        let aside = table.set_aside();
        aside.unreadable.retain(|hook| hook.id != id);
        aside.claims.retain(|claim| claim.id != id);
    }
}

/// Whether the tenant would be taken from a damaged row: perhaps it is the tenant that was altered.
fn owner_is_damaged(scope: &Scope, spec: &serde_json::Value, found: Option<&Found<'_>>) -> bool {
    scope.tenant().is_none()
        && spec.get("tenant").is_none()
        && found.is_some_and(|found| found.row.is_damaged)
}

fn unknown_owner() -> TextFault {
    TextFault::new(
        TextPosition { line: 0, column: 0 },
        "tenant",
        "the hook's stored row is damaged: whose it is cannot be read",
    )
    .fix("name the tenant")
}

/// What is stored of an entry of the API, sealed.
fn kept(entry: &Entry, older: Vec<(crate::signature::Secret, i64)>) -> KeptHook {
    KeptHook {
        given: entry.secrets.clone(),
        older,
        livekit: entry.livekit.clone(),
        private: entry.private,
        numbers: entry.numbers.iter().map(|number| number.as_str().to_owned()).collect(),
        trunks: entry.trunks.clone(),
        settings: unusual(entry),
        ..KeptHook::default()
    }
}
