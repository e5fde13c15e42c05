//! How far a long work has come, for whoever waits for it.

/// Called with the bytes that are done and those that there are in all, a few times a second.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);
