//! Where an event would go by the hooks that a scope covers.

use super::ScopedView;
use crate::background;
use crate::event::Event;
use crate::hooks::{Hook, Layer, Tenant};
use crate::outbox::StoreFault;
use crate::route::{self, Basis, Door};
use crate::wire::Explanation;

impl ScopedView<'_> {
    /// Where an event would go as the first of its call, and why, if there were no hooks but those that the scope
    /// covers. `at`: the tenant by whose own URL it comes; none of the answer: it has no such URL within the scope.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub(crate) async fn explain(
        &self,
        event: Event<'static>,
        at: Option<Tenant>,
    ) -> Result<Option<Explanation>, StoreFault> {
        let (table, to_fallback) = (self.outbox.table(), self.outbox.config.to_fallback);
        if at.as_ref().is_some_and(|at| !self.scope.sees(at.as_str()) || !table.knows(at)) {
            return Ok(None);
        }
        let own = at.clone().or_else(|| self.scope.tenant().cloned());
        let door = at.map_or(Door::Platform, |tenant| Door::Tenant { tenant, own_key: false });
        // Hosts like the dialled one are searched for in the whole table.
        let explaining = move || {
            let hooks = own.as_ref().map_or_else(|| table.all(), |own| table.of(own));
            let route = route::route_first(&event, hooks, to_fallback, &door);
            route::explain(&event, route, Basis { hooks, call: None, to_fallback }, place)
        };
        background::run(explaining).await.map(Some).ok_or(StoreFault::Slow)
    }
}

/// Where a hook is declared.
fn place(hook: &Hook) -> String {
    match hook.origin.layer {
        Layer::File => "in the hooks file".to_owned(),
        Layer::Api => "registered over the API".to_owned(),
    }
}
