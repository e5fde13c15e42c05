//! Opening the database, and its versions.

pub mod care;
mod connection;
mod copy;
mod faults;
mod files;
mod history;
mod in_place;
mod makeshift;
mod ours;
pub mod sums;
mod take_over;

use std::path::Path;

use rusqlite::Connection;

#[cfg(test)]
pub use self::connection::in_memory;
pub use self::connection::open_reader;
use self::connection::{
    AMENDED, VERSION, amend, check_build, connect, create, overwrite_remains, try_to_write, version_of,
    write_durably,
};
pub use self::faults::explained;
pub use self::files::path;
pub use self::history::{HistoryPlan, Predecessor, plan_history};
#[cfg(test)]
pub use self::in_place::SET_ASIDE;
pub use self::in_place::{
    FoundDatabase, InPlace, LostDatabase, OpenFiles, copy_log, empty_log, in_use, lost, open_in_use,
};
pub use self::makeshift::{Opening, ReadStore, end as end_to_read};
use self::ours::is_ours;
use self::take_over::{System, TakeOverFault};
use crate::outbox::engine::{FaultKind, StoreFault};

/// A connection that reads.
pub type Store = Connection;

/// The result of a query.
pub type Found<T> = rusqlite::Result<T>;

/// Runs a query on a connection of its own.
///
/// # Errors
/// When the store cannot be read.
pub fn read<T>(directory: &Path, look: impl FnOnce(&Store) -> Found<T>) -> Result<T, StoreFault> {
    let (store, files) = open_in_use(directory)?;
    let found = look(&store).map_err(StoreFault::from);
    files.iter().try_for_each(|files| files.look_inside().map(drop))?;
    found
}

/// Runs a query in a directory that no router of this release may have used; none: the database is an older release's.
///
/// # Errors
/// When the store cannot be read, or belongs to a newer version.
pub fn read_foreign<T>(
    directory: &Path,
    look: impl FnOnce(&Store) -> Found<T>,
) -> Result<Option<T>, StoreFault> {
    Ok(open_foreign(directory)?.map(|store| look(&store)).transpose()?)
}

/// Whether a directory has a database.
pub fn has_store(directory: &Path) -> bool {
    path(directory).is_file()
}

/// Opens the database of a directory that no router of this release may have used, to read it; none: it is an older
/// release's.
///
/// # Errors
/// When the store cannot be read, or belongs to a newer version.
pub fn open_foreign(directory: &Path) -> Result<Option<ReadStore>, StoreFault> {
    let store = open_reader(&path(directory))?;
    match version_of(&store)? {
        VERSION => Ok(Some(store)),
        found if found > VERSION => Err(StoreFault::Version { found, known: VERSION }),
        _ => Ok(None),
    }
}

/// Opens the writer's connection; the database is made, or taken over from an older release, if need be.
///
/// # Errors
/// [`StoreFault`] when the file cannot be used, belongs to a newer version, or another process
/// has it.
pub fn open_writer(directory: &Path) -> Result<Connection, StoreFault> {
    open_with(directory, &System::real())
}

fn open_with(directory: &Path, system: &System<'_>) -> Result<Connection, StoreFault> {
    refuse_link(directory)?;
    take_over::finish(directory)?;
    set_anothers_log_aside(directory)?;
    refuse_damaged_log(directory)?;
    let connection = connect(directory)?;
    check_build(&connection)?;
    match version_of(&connection)? {
        0 => {
            write_durably(&connection)?;
            let transaction = connection.unchecked_transaction()?;
            create(&transaction)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(connection)
        }
        AMENDED..=VERSION => {
            is_ours(&connection)?;
            write_durably(&connection)?;
            amend(&connection)?;
            try_to_write(&connection)?;
            if let Err(error) = overwrite_remains(&connection) {
                tracing::warn!(%error, "what older releases deleted is not overwritten: the next start tries it again");
            }
            Ok(connection)
        }
        found if found > VERSION => Err(StoreFault::Version { found, known: VERSION }),
        older => {
            take_over::take_over(directory, connection, older, system)?;
            let connection = connect(directory)?;
            write_durably(&connection).map(|()| connection)
        }
    }
}

/// SQLite keeps the log beside the file that a link leads to: nobody would look after that one here, and a start that only
/// reads would leave it out.
fn refuse_link(directory: &Path) -> Result<(), StoreFault> {
    let path = path(directory);
    if !path.is_symlink() {
        return Ok(());
    }
    let link = format!(
        "{} is a symbolic link: move the file that it leads to here, and its -wal, or name that file's directory with --data",
        path.display()
    );
    Err(StoreFault::Engine(FaultKind::Other, link.into()))
}

/// A database that was copied over that of a router that had been killed is taken as it is, without the log beside it.
fn set_anothers_log_aside(directory: &Path) -> Result<(), StoreFault> {
    let database = path(directory);
    let Some(aside) = care::log::name_aside(directory)? else { return Ok(()) };
    files::rename(directory, &files::beside(&database, "-wal"), &directory.join(&aside))?;
    tracing::error!(
        database = %database.display(),
        aside,
        "another database was copied over this one while no router ran, beside the log of the one before: the log is set \
         aside, and the router goes on with the database that is there. What was acknowledged last may be in the log alone: \
         to go back, stop the router, and put the database before and its log in place"
    );
    Ok(())
}

/// SQLite would leave out what is behind the damage, and write over it. The log stays as it is for a recovery.
fn refuse_damaged_log(directory: &Path) -> Result<(), StoreFault> {
    match care::log::damage(&path(directory))? {
        Some(damage) => Err(StoreFault::Damaged(format!("{damage}: what was acknowledged would be lost"))),
        None => Ok(()),
    }
}

/// Begins to read a database that cannot be written, until an [`Opening`] to open it succeeds.
///
/// # Errors
/// When it cannot be read, belongs to another version, or has what is not Switchhook's.
pub fn begin_to_read(directory: &Path) -> Result<ReadStore, StoreFault> {
    let path = path(directory);
    if care::log::is_anothers(&path)? {
        return Err(StoreFault::Damaged("the log beside it is another database's".to_owned()));
    }
    let store = makeshift::begin(&path)?;
    match may_be_read(&store) {
        Ok(()) => Ok(store),
        Err(fault) => {
            drop(store);
            makeshift::end(&path);
            Err(fault)
        }
    }
}

fn may_be_read(store: &Connection) -> Result<(), StoreFault> {
    match version_of(store)? {
        VERSION => is_ours(store),
        found if found > VERSION => Err(StoreFault::Version { found, known: VERSION }),
        older => Err(TakeOverFault::Older(older).into()),
    }
}

/// The names of the databases that were set aside: backups of older releases', and others.
///
/// # Errors
/// When the directory cannot be read.
pub fn backups(directory: &Path) -> Result<Vec<String>, StoreFault> {
    Ok(files::backups(directory)?)
}

/// Removes databases that were set aside.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove_backups(directory: &Path, backups: &[String]) -> Result<(), StoreFault> {
    backups.iter().try_for_each(|backup| files::remove(&directory.join(backup)))?;
    Ok(())
}

#[cfg(test)]
mod tests;
