//! Whether a hook may have what it asks for.

use super::kinds::EditRefusal;
use crate::access::Scope;
use crate::hooks::{Entry, Hook, HookTable, Terms};
use crate::ids::HookId;

/// Whether the token permits all of it, whatever is there.
pub fn covered(scope: &Scope, entry: &Entry) -> Result<(), EditRefusal> {
    let not_covered = |field, value: &str| Err(EditRefusal::NotCovered { field, value: value.to_owned() });
    if !scope.sees(entry.tenant.as_str()) {
        return not_covered("tenant", entry.tenant.as_str());
    }
    if let Some(number) = entry.numbers.iter().find(|number| !scope.covers_number(number)) {
        return not_covered("numbers", number.as_str());
    }
    if let Some(trunk) = entry.trunks.iter().find(|trunk| !scope.covers_trunk(trunk)) {
        return not_covered("trunks", trunk);
    }
    if let Some(pair) = entry.livekit.as_ref().filter(|pair| !scope.covers_livekit(&pair.key)) {
        return not_covered("livekit", &pair.key);
    }
    Ok(())
}

/// Whether another hook has a number, trunk or LiveKit key of it; also one that is set aside, which may return.
pub fn free(table: &HookTable, entry: &Entry, id: Option<HookId>) -> Result<(), EditRefusal> {
    let taken = |field, value: &str| Err(EditRefusal::Taken { field, value: value.to_owned() });
    let is_other = |hook: &Hook| Some(hook.id) != id;
    let aside = || table.aside().hooks.values().filter(|hook| is_other(hook));
    for number in &entry.numbers {
        let has = table.by_number(number.as_str()).is_some_and(|hook| is_other(hook));
        if has || aside().any(|hook| hook.numbers.contains(number)) {
            return taken("numbers", number.as_str());
        }
    }
    for trunk in &entry.trunks {
        let has = table.by_trunk(trunk).is_some_and(|hook| is_other(hook));
        if has || aside().any(|hook| hook.trunks.contains(trunk)) {
            return taken("trunks", trunk);
        }
    }
    if let Some(pair) = &entry.livekit {
        // A tenant's hooks may share a key, with one secret.
        let owner = table.owner_of_key(&pair.key);
        let own = table.hooks_of(&entry.tenant).iter().chain(aside()).filter(|hook| is_other(hook));
        let mut own = own.filter_map(|hook| Some((&hook.tenant, hook.livekit.as_ref()?)));
        let differs = own.any(|(tenant, other)| {
            other.key == pair.key && (*tenant != entry.tenant || other.secret != pair.secret)
        });
        if differs || owner.is_some_and(|owner| *owner != entry.tenant) {
            return taken("livekit", &pair.key);
        }
    }
    Ok(())
}

/// Whether the tenant may have one hook more, or one with these settings. What hooks have by default does not count
/// as asked for.
pub fn within_limits(
    table: &HookTable,
    terms: &Terms,
    entry: &Entry,
    id: Option<HookId>,
) -> Result<(), EditRefusal> {
    let most = terms.most(&entry.tenant);
    let aside = table.aside().hooks.values().filter(|hook| hook.tenant == entry.tenant);
    let others: Vec<_> =
        table.hooks_of(&entry.tenant).iter().chain(aside).filter(|hook| Some(hook.id) != id).collect();
    let is_new = id.is_none_or(|id| table.by_id(id).is_none());
    if is_new && others.len() >= most.hooks {
        return Err(EditRefusal::OverLimit { limit: "hooks", most: most.hooks });
    }
    let asked = |concurrency: usize| if concurrency == terms.usual_concurrency() { 0 } else { concurrency };
    let own = asked(entry.settings.concurrency);
    let all: usize = own + others.iter().map(|hook| asked(hook.settings.concurrency)).sum::<usize>();
    if own > 0 && all > most.concurrency {
        return Err(EditRefusal::OverLimit { limit: "concurrency", most: most.concurrency });
    }
    Ok(())
}
