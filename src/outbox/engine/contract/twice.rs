//! A commit may be repeated if its outcome is not known. Two engines get the same batches, one of them gets some batches
//! twice: both must have stored the same.

mod committed;
mod drawn;
mod orders;
mod router;

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::committed::Committed;
use self::drawn::{Step, steps};
use self::router::Router;
use super::Kept;

/// `PROPTEST_CASES` raises how many cases are tried: each has two stores.
pub fn what_is_committed_again_changes_nothing_more<K: Kept>() {
    let config = Config { failure_persistence: None, ..Config::default() };
    let config = Config { cases: config.cases / 16, max_shrink_iters: 500, ..config };
    let committed = RefCell::new(Committed::default());
    // The same cases each time, so that all kinds are among them or never are; `PROPTEST_CASES` goes on behind them.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(&steps(), |steps: Vec<Step>| {
        let mut router = Router::<K>::new(&committed);
        steps.iter().try_for_each(|step| router.take(step))?;
        router.end()
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    committed.borrow().has_all();
}
