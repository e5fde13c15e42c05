//! What single rows count for, and how long the sums stay.

use super::*;
use crate::outbox::sqlite::schema::in_memory;

#[test]
fn usage_is_removed_after_400_days() {
    let store = in_memory();
    let sql = "INSERT INTO usage VALUES (?1, 'acme', 1, 1, 1, 1)";
    for day in 0..=500 {
        store.execute(sql, [day]).expect("a row");
    }
    let now = UnixMillis(500 * 24 * 3_600_000);
    let gone = surplus(&store, now).expect("a plan");
    assert_eq!((gone.len(), gone.last()), (100, Some(&(99, "acme".to_owned()))));
    sweep(&store, &gone).expect("removed");
    assert_eq!(surplus(&store, now).expect("a plan"), []);
    assert_eq!(busiest(&store, now, 9).expect("tenants"), ["acme"]);
}

#[test]
fn an_event_that_is_sent_again_was_delivered_once_on_the_first_day() {
    let store = in_memory();
    let day = 24 * 3_600_000;
    store
        .execute(
            "INSERT INTO events (id, event, received_at, outcome, size, state, attempts, attempted_at, settled_at, \
             tenant) VALUES ('EV_1', 'room_started', ?1, 'domain', 9, 1, 4, ?2, ?2, 'acme')",
            [day, 3 * day],
        )
        .expect("a row");
    for (number, at, status) in [(1, day, 500), (2, 2 * day - 1, 200), (3, 3 * day - 9, 500)] {
        let sql = "INSERT INTO attempts VALUES (1, ?1, ?2, ?3, NULL, 1000, NULL)";
        store.execute(sql, [number, at, status]).expect("a row");
    }
    let tally = tally(&store, 0, 1, 1).expect("counted").tally;
    let days: Vec<_> =
        tally.into_iter().map(|((day, _), counts)| (day.0, counts.attempts, counts.deliveries)).collect();
    assert_eq!(days, [(1, 2, 0), (2, 1, 1), (3, 1, 0)]);
}

#[test]
fn of_too_many_lines_of_usage_the_oldest_go() {
    let store = in_memory();
    for day in 0..10 {
        store.execute("INSERT INTO usage VALUES (?1, 'acme', 1, 1, 1, 1)", [day]).expect("a row");
    }
    assert_eq!(surplus_of(&store, UnixMillis(0), 10).expect("a plan"), []);
    let gone = surplus_of(&store, UnixMillis(0), 7).expect("a plan");
    assert_eq!(gone.iter().map(|(day, _)| *day).collect::<Vec<_>>(), [0, 1, 2]);
}
