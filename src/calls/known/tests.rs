//! What is known stays within its bounds.

use super::*;
use crate::calls::LastCalled;

#[test]
fn beyond_their_bounds_calls_and_numbers_are_dropped_from_memory() {
    let mut known = Known::default();
    let name = |number: usize| number.to_string();
    let number = |count: usize| Number::new(&format!("+{count}")).expect("a number");
    known.sessions.extend((0..SESSIONS).map(|call| (name(call).into(), Box::default())));
    let called =
        || CalledLately::from(LastCalled { domain: String::new(), tenant: None, seen_at: UnixMillis(0) });
    known.numbers.extend((0..NUMBERS).map(|count| (number(count), called())));
    known.forget();
    assert_eq!((known.sessions.len(), known.numbers.len()), (SESSIONS, NUMBERS));
    known.sessions.insert("one more".into(), Box::default());
    known.numbers.insert(number(NUMBERS), called());
    known.forget();
    assert_eq!((known.sessions.len(), known.numbers.len()), (0, 0));
}

#[test]
fn ids_are_remembered_for_two_minutes_and_a_bounded_number_of_them() {
    let mut recent = Recent::default();
    recent.add("EV_first", UnixMillis(0));
    recent.add("EV_second", UnixMillis(RECENT_MS));
    assert!(recent.has("EV_first"));
    recent.add("EV_third", UnixMillis(RECENT_MS + 1));
    assert_eq!(["EV_first", "EV_second"].map(|id| recent.has(id)), [false, true]);
    (0..RECENT).for_each(|id| recent.add(&id.to_string(), UnixMillis(RECENT_MS + 1)));
    assert_eq!((recent.order.len(), recent.hashes.len(), recent.has("EV_second")), (RECENT, RECENT, false));
}
