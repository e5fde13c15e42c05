//! Why the store does not work, in one word and with what to do about it: for `/readyz`, the metric `store_fault` and the
//! log.

/// Why a store does not do what it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// There is no room on the file system, or its quota is used up.
    Full,
    /// Another process has locked the database.
    Locked,
    /// The file system is mounted read-only, or permissions forbid writing.
    ReadOnly,
    /// The disk errs.
    Io,
    /// The database's file was removed, replaced or overwritten.
    Moved,
    /// What the database holds is not what was written.
    Damaged,
    /// The disk does not answer in time.
    Slow,
    /// Anything else.
    Other,
}

impl FaultKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Full,
        Self::Locked,
        Self::ReadOnly,
        Self::Io,
        Self::Moved,
        Self::Damaged,
        Self::Slow,
        Self::Other,
    ];

    /// Its name in `/readyz`, metrics and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::Io => "io",
            Self::Moved => "moved",
            Self::Damaged => "damaged",
            Self::Slow => "slow",
            Self::Other => "other",
        }
    }

    /// What to do about it. Without paths: everybody may read `/readyz`.
    pub fn fix(self) -> &'static str {
        match self {
            Self::Full => {
                "The disk is full: make room on the file system of the data directory. The router goes on by itself."
            }
            Self::Locked => {
                "Another process has locked the database: end it, such as an sqlite3 shell or a backup that is not \
                 switchhook's own. The router goes on by itself."
            }
            Self::ReadOnly => {
                "The data directory cannot be written: mount it for writing, or let the router's user write it and \
                 the files in it. The router goes on by itself."
            }
            Self::Io => {
                "The disk errs: look at the system's log and at the disk. The router goes on by itself when the disk \
                 works again."
            }
            Self::Moved => {
                "The database's file was removed, replaced or overwritten while the router had it open: let nothing but \
                 the router touch the data directory. The router's log says what it does about it, or what you must do."
            }
            Self::Damaged => {
                "The database is damaged. While events are in memory only, a stop loses them: let the router deliver \
                 what it can (`switchhook hooks` says what waits), then stop it. `switchhook store check` says where the \
                 damage is, `switchhook store recover` saves what can be read."
            }
            Self::Slow => {
                "The disk does not answer in time: look at what else uses it, and at the disk itself. The router \
                 goes on by itself."
            }
            Self::Other => "The router's log has the error.",
        }
    }

    /// The same of a store that a start has not opened yet.
    pub fn fix_at_start(self) -> &'static str {
        match self {
            Self::Slow => {
                "The store is still being opened; a large database of an older release takes minutes. Do not stop the \
                 router. If the database is not of an older release, look at what else uses the disk, and at the disk \
                 itself."
            }
            other => other.fix(),
        }
    }

    /// Whether it may end without a change of the database: then it is worth trying again.
    pub fn may_end(self) -> bool {
        match self {
            Self::Full | Self::Locked | Self::ReadOnly | Self::Io | Self::Moved | Self::Slow => true,
            Self::Damaged | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_fix_without_a_path() {
        let names: std::collections::BTreeSet<_> = FaultKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
        for (at, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            for fix in [kind.fix(), kind.fix_at_start()] {
                assert!(fix.ends_with('.') && !fix.contains('/'), "{fix}");
            }
        }
    }
}
