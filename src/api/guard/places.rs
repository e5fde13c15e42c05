//! Places of requests that are worked on: so many in all, some of them for operators alone, and so many per token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::access::{Bearer, TokenIdentity};

/// Requests that are worked on at once.
pub const IN_ALL: usize = 256;

/// Of these, so many are of tenants at most: the rest is kept for operators.
const OF_TENANTS: usize = IN_ALL - 32;

/// Requests of one tenant's token that are worked on at once.
pub const OF_ONE: usize = 16;

/// Those of one operator's: ten times as many.
const OF_ONE_OPERATORS: usize = 160;

/// Whose a place is. None: a request without a token.
type Whose = Option<TokenIdentity>;

/// The places, and who has them.
#[derive(Default)]
pub struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    of_tenants: usize,
    /// Only who has a place: never more than there are places.
    by: HashMap<Whose, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// The token has as many as it may have.
    OfThisToken,
    /// All are taken.
    AtAll,
}

/// A place, until it is dropped.
pub struct HeldPlace {
    places: Arc<Places>,
    whose: Whose,
}

/// Holds a request's place: made before it is known whose request it is, and dropped when it is answered.
#[derive(Clone, Default)]
pub struct Seat(Arc<OnceLock<HeldPlace>>);

impl Seat {
    /// Whether the request has its place already.
    pub fn is_taken(&self) -> bool {
        self.0.get().is_some()
    }

    /// Keeps the place until the request is answered.
    pub fn hold(&self, place: HeldPlace) {
        // A second one would be given back at once.
        drop(self.0.set(place));
    }
}

impl Places {
    /// A place for a request of this bearer; none: of somebody who needs no token.
    ///
    /// # Errors
    /// [`NoPlace`]
    pub fn take(self: &Arc<Self>, bearer: Option<&Bearer>) -> Result<HeldPlace, NoPlace> {
        let whose = bearer.map(Bearer::identity);
        let is_operators = is_operators(&whose);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&whose).copied().unwrap_or(0);
        let most = if is_operators { OF_ONE_OPERATORS } else { OF_ONE };
        if own >= most {
            return Err(NoPlace::OfThisToken);
        }
        if taken.all >= IN_ALL || (!is_operators && taken.of_tenants >= OF_TENANTS) {
            return Err(NoPlace::AtAll);
        }
        taken.all += 1;
        taken.of_tenants += usize::from(!is_operators);
        taken.by.insert(whose.clone(), own + 1);
        Ok(HeldPlace { places: Arc::clone(self), whose })
    }
}

fn is_operators(whose: &Whose) -> bool {
    matches!(whose, Some((None, _)))
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        taken.of_tenants -= usize::from(!is_operators(&self.whose));
        let left = taken.by.get(&self.whose).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            taken.by.remove(&self.whose);
        } else {
            taken.by.insert(self.whose.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Scope};
    use crate::time::UnixMillis;

    fn bearer(tenant: Option<&str>, jti: &str) -> Bearer {
        let scope = tenant
            .map_or_else(Scope::for_tests, |name| Scope::of_tenant_for_tests(Grant::for_tests(name, &[])));
        Bearer { scope, jti: jti.to_owned(), expires: UnixMillis(0) }
    }

    #[test]
    fn one_token_has_its_places_and_operators_always_have_some() {
        let places = Arc::new(Places::default());
        let mut held = Vec::new();
        for token in 0..14 {
            let bearer = bearer(Some("acme"), &token.to_string());
            for _ in 0..OF_ONE {
                held.push(places.take(Some(&bearer)).expect("a place"));
            }
            let refused = places.take(Some(&bearer)).err();
            assert_eq!(refused, Some(NoPlace::OfThisToken));
        }
        let globex = bearer(Some("globex"), "0");
        assert_eq!(places.take(Some(&globex)).err(), Some(NoPlace::AtAll));
        assert_eq!(places.take(None).err(), Some(NoPlace::AtAll));
        let operator = bearer(None, "0");
        for _ in 0..32 {
            held.push(places.take(Some(&operator)).expect("a place"));
        }
        assert_eq!(places.take(Some(&operator)).err(), Some(NoPlace::AtAll));
        // Another tenant's token of the same id is another one.
        drop(held.remove(0));
        held.push(places.take(Some(&globex)).expect("a place"));
        held.clear();
        let taken = places.0.lock().expect("unlocked");
        assert_eq!((taken.all, taken.of_tenants, taken.by.len()), (0, 0, 0));
    }
}
