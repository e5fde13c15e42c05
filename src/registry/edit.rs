//! Single edits of the hook table, as the API asks for them: checked and planned without planning the table anew.

mod checks;
mod hidden;
mod kinds;
mod put;
#[cfg(test)]
mod tests;

pub use self::kinds::{EditGround, EditRefusal, EditRequest, Edited, Etag, Precondition, TableEdit, Whose};

use std::sync::Arc;

use self::kinds::Found;
use super::kept::{KeptHook, SIGNING};
use super::pauses::PausedBy;
use super::plan::{Registry, stored_hook};
use super::records::{HookChange, HookRow};
use crate::access::Scope;
use crate::hooks::{Hook, HookTable, HostPattern, Layer, Settings, Tenant};
use crate::time::UnixMillis;

impl Registry {
    /// Plans an edit. Nothing is changed by it but the id of the next new hook.
    ///
    /// # Errors
    /// [`EditRefusal`]: nothing is to be changed then.
    pub fn plan_edit(
        &mut self,
        scope: &Scope,
        edit: &EditRequest,
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        match edit {
            EditRequest::Put { host, spec, now, precondition } => {
                self.put(scope, (host, spec), (*now, precondition), ground)
            }
            EditRequest::Delete { host, now, precondition } => {
                self.delete(scope, host, (*now, precondition), ground)
            }
            EditRequest::Rotate(Whose::Host(host)) => {
                let hook = visible(scope, ground.table, host)?;
                if hook.has_given_secret {
                    return Err(EditRefusal::GivenSecret);
                }
                self.rotate(&hook.tenant, ground)
            }
            EditRequest::Rotate(Whose::Tenant(tenant)) => {
                if !scope.sees(tenant.as_str()) {
                    return Err(EditRefusal::NotFound);
                }
                self.rotate(tenant, ground)
            }
            EditRequest::Erase(tenant) => self.erase(scope, tenant, ground),
            EditRequest::Pause { host } => pause(visible(scope, ground.table, host)?, ground),
            EditRequest::Resume { host } => self.resume(visible(scope, ground.table, host)?, ground),
        }
    }

    /// An edit is stored: what was planned from here on counts with it.
    pub fn is_stored(&mut self, edit: &TableEdit, now: UnixMillis) {
        if let Some((tenant, _)) = &edit.rotated {
            self.vault.renew(tenant, now);
        }
    }

    fn delete(
        &self,
        scope: &Scope,
        host: &HostPattern,
        (now, precondition): (bool, &Precondition),
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        let Some(found) = self.find(ground).filter(|found| scope.sees(&found.row.tenant)) else {
            let hook = visible(scope, ground.table, host)?;
            return Err(if hook.origin.layer == Layer::File {
                EditRefusal::OfFile
            } else {
                EditRefusal::NotFound
            });
        };
        precondition.check(Some(found.etag()), true)?;
        let mut table = ground.table.clone();
        out_of_force(&mut table, host, found.row, ground.calling);
        let id = found.row.id;
        let mut edit = TableEdit::new(table, ground.calling);
        edit.changes.push(HookChange::Remove { id, at: ground.now });
        edit.moves.extend(now.then_some(HookChange::Cut { id }));
        edit.lanes.push(id);
        edit.edited = Edited { before: self.effective(&found, ground), is_change: true, ..Edited::default() };
        Ok(edit)
    }

    /// The host's hook of the API, if it has one.
    fn find<'r>(&self, ground: &'r EditGround<'_>) -> Option<Found<'r>> {
        let is_it = |row: &&HookRow| !row.removed && row.origin.layer == Layer::Api;
        let row = ground.rows.iter().find(is_it)?;
        Some(Found { row, kept: row.open(&self.vault).ok() })
    }

    /// A hook as it is in force, or as it is stored if it is not.
    fn effective(&self, found: &Found<'_>, ground: &EditGround<'_>) -> Option<Arc<Hook>> {
        if let Some(hook) = ground.table.by_id(found.row.id) {
            return Some(Arc::clone(hook));
        }
        let kept = found.kept.as_ref()?;
        let secrets = |tenant: &Tenant| self.vault.signing(tenant, kept, ground.now);
        stored_hook(found.row, kept, secrets).map(Arc::new)
    }

    /// Renews a tenant's derived secret; the one before signs beside it.
    fn rotate(&self, tenant: &Tenant, ground: &EditGround<'_>) -> Result<TableEdit, EditRefusal> {
        let is_set_aside = |hook: &&Arc<Hook>| hook.tenant == *tenant;
        let set_aside = ground.table.aside().hooks.values().filter(is_set_aside);
        let mut hooks = ground.table.hooks_of(tenant).iter().chain(set_aside).peekable();
        if hooks.peek().is_none() {
            return Err(EditRefusal::NotFound);
        }
        if hooks.all(|hook| hook.has_given_secret) {
            return Err(EditRefusal::GivenSecret);
        }
        if self.vault.generation(tenant).overlaps(ground.now) {
            return Err(EditRefusal::RenewedAlready);
        }
        let mut table = ground.table.clone();
        let derived = ground.table.all_of(tenant).filter(|hook| !hook.has_given_secret);
        for hook in derived {
            let secrets = self.vault.renewed(tenant, &hook.secrets, ground.now);
            if secrets.len() > SIGNING {
                return Err(EditRefusal::ManySecrets);
            }
            table.renew(&Arc::new(Hook { secrets, ..Hook::clone(hook) }));
        }
        let mut edit = TableEdit::new(table, ground.calling);
        edit.rotated = Some((tenant.clone(), self.vault.next(tenant)));
        let derived = edit.table.hooks_of(tenant).iter().find(|hook| !hook.has_given_secret);
        edit.edited =
            Edited { after: derived.cloned(), is_change: true, shows_secret: true, ..Edited::default() };
        Ok(edit)
    }

    /// Erases a tenant's stored data, for operators. What was signed with its derived secret differs from what
    /// will be: the secret is renewed, also if it was renewed lately, or if all of its hooks have given ones.
    fn erase(
        &self,
        scope: &Scope,
        tenant: &Tenant,
        ground: &EditGround<'_>,
    ) -> Result<TableEdit, EditRefusal> {
        if !scope.is_operator() {
            return Err(EditRefusal::NotFound);
        }
        let mut table = ground.table.clone();
        for hook in ground.table.all_of(tenant).filter(|hook| !hook.has_given_secret) {
            let mut secrets = self.vault.renewed(tenant, &hook.secrets, ground.now);
            // The oldest come last.
            secrets.truncate(SIGNING);
            table.renew(&Arc::new(Hook { secrets, ..Hook::clone(hook) }));
        }
        let mut edit = TableEdit::new(table, ground.calling);
        edit.rotated = Some((tenant.clone(), self.vault.next(tenant)));
        edit.erased = Some(tenant.clone());
        edit.edited.is_change = true;
        Ok(edit)
    }

    fn resume(&self, hook: &Arc<Hook>, ground: &EditGround<'_>) -> Result<TableEdit, EditRefusal> {
        let mut edit = TableEdit::new(ground.table.clone(), ground.calling);
        let before = Some(Arc::clone(hook));
        let mut after = Arc::clone(hook);
        if hook.settings.paused {
            let found = self.find(ground).filter(|_| hook.origin.layer == Layer::Api);
            let Some((row, kept)) = found.and_then(|found| Some((found.row, found.kept?))) else {
                return Err(EditRefusal::PausedByFile);
            };
            let settings = Settings { paused: false, ..(*hook.settings).clone() };
            let is_usual = settings == Settings::default();
            let kept = KeptHook { settings: (!is_usual).then(|| settings.clone()), ..kept };
            let (id, url, version, at) = (row.id, row.url.clone(), row.origin.version + 1, ground.now);
            let sealed = self.vault.seal(id, &kept);
            edit.changes.push(HookChange::Alter { id, url, kept: sealed, version, at });
            let mut origin = hook.origin;
            (origin.version, origin.changed_at) = (version, Some(at));
            after = Arc::new(Hook { settings: Arc::new(settings), origin, ..Hook::clone(hook) });
            edit.table.put(Arc::clone(&after));
        }
        if ground.pauses.is_paused(hook.id) {
            edit.resumed.push(hook.id);
        }
        let is_change = !edit.resumed.is_empty() || !edit.changes.is_empty();
        edit.edited = Edited { before, after: Some(after), is_change, ..Edited::default() };
        Ok(edit)
    }
}

fn pause(hook: &Arc<Hook>, ground: &EditGround<'_>) -> Result<TableEdit, EditRefusal> {
    let mut edit = TableEdit::new(ground.table.clone(), ground.calling);
    let is_change = !matches!(ground.pauses.of(hook.id).by, Some(PausedBy::Api | PausedBy::File));
    if is_change {
        edit.paused.push(hook.id);
    }
    let (before, after) = (Some(Arc::clone(hook)), Some(Arc::clone(hook)));
    edit.edited = Edited { before, after, is_change, ..Edited::default() };
    Ok(edit)
}

/// The hook of this host that is in force, if it may be seen.
fn visible<'t>(
    scope: &Scope,
    table: &'t HookTable,
    host: &HostPattern,
) -> Result<&'t Arc<Hook>, EditRefusal> {
    let hook = table.by_host(host).filter(|hook| scope.sees(hook.tenant.as_str()));
    hook.ok_or(EditRefusal::NotFound)
}

/// Takes a hook of the API out of a table, wherever it stands in it.
fn out_of_force(table: &mut HookTable, host: &HostPattern, row: &HookRow, calling: bool) {
    let aside = table.aside();
    let is_aside = aside.hooks.get(host).is_some_and(|hook| hook.id == row.id);
    let is_noted = aside.claims.iter().any(|claim| claim.id == row.id)
        || aside.unreadable.iter().any(|hook| hook.id == row.id);
    if is_aside || is_noted {
        let aside = table.set_aside();
        aside.claims.retain(|claim| claim.id != row.id);
        aside.unreadable.retain(|hook| hook.id != row.id);
        if is_aside {
            aside.hooks.remove(host);
            return;
        }
    }
    table.retire(row.id, calling);
}
