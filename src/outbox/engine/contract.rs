//! What every engine must do. An engine has all of these tests with one line: `contract!(WhereItIsKept);`.

pub mod bench;
pub mod events;
pub mod recorded;
pub mod sessions;
pub mod start;
pub mod twice;

use std::collections::BTreeSet;

use super::Engine;
use crate::calls::{Known, Shelf};
use crate::ids::DeliveryId;

/// Where an engine keeps what it stores. It may be opened again, once the engine is gone.
pub trait Kept {
    type Engine: Engine;

    /// Nothing is stored yet.
    fn new() -> Self;

    fn open(&self) -> Self::Engine;

    /// What deciding knows at a start.
    fn known(engine: &Self::Engine) -> Known;

    /// How many rows are not as they were stored.
    fn altered(engine: &Self::Engine) -> usize;

    /// All that is stored, a text for each row, but for what may differ although the same was stored.
    fn stored(engine: &Self::Engine) -> BTreeSet<String>;

    /// What each stored event is kept as.
    fn shelves(engine: &Self::Engine) -> Vec<(DeliveryId, Shelf)>;

    /// Carries out `attempt` while nothing can be committed.
    fn while_it_refuses(&self, attempt: impl FnOnce());
}

/// Declares the tests of the contract for an engine.
macro_rules! contract {
    ($kept:ty) => {
        mod contract {
            use $crate::outbox::engine::contract;
            contract::contract!($kept, events:
                an_empty_store_answers_that_there_is_nothing,
                a_stored_event_is_found_by_its_key,
                a_commit_that_fails_stores_nothing_of_it,
                an_event_whose_key_is_stored_is_ignored,
                events_without_a_hook_are_found_by_session_and_by_name_in_order,
                what_routing_read_of_an_event_is_given_back,
                what_has_no_body_any_more_waits_no_more,
                what_is_freed_waits_no_more_and_what_stays_does_for_its_new_reason,
                only_what_was_given_up_is_a_dead_letter,
                only_a_delivered_event_whose_body_is_kept_is_sent_again,
                how_a_number_was_last_called_is_remembered,
                a_sweep_removes_what_it_names_unless_that_has_changed,
                an_event_whose_row_is_gone_is_neither_freed_nor_revived_and_stops_no_commit,
            );
            contract::contract!($kept, sessions:
                a_session_is_as_its_changes_say,
                a_session_begins_once,
                an_edit_of_a_hook_moves_its_calls_or_cuts_them_off,
                the_two_latest_sessions_of_a_name_are_found,
                a_session_that_was_swept_is_absent,
            );
            contract::contract!($kept, start:
                a_start_goes_on_from_the_last_event,
                numbers_go_on_after_a_start_whether_they_were_written_or_not,
                a_freed_events_number_is_written_with_it,
                a_written_number_is_never_lowered,
                a_chain_is_forgotten_only_if_it_is_silent,
                the_ids_of_the_audit_log_go_on_after_a_start,
                pauses_outlast_a_start_and_end_with_their_hook,
                a_pause_that_is_stored_twice_counts_once,
            );
            contract::contract!($kept, recorded:
                after_every_recorded_event_it_answers_as_the_plainest_engine_does,
            );
            contract::contract!($kept, twice:
                what_is_committed_again_changes_nothing_more,
            );
        }
    };
    ($kept:ty, $theme:ident: $($test:ident,)+) => {
        $(
            #[test]
            fn $test() {
                contract::$theme::$test::<$kept>();
            }
        )+
    };
}
pub(crate) use contract;
