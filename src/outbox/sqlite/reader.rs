//! A thread with a read-only connection: look-ups never wait for the writer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::schema::{self, OpenFiles, ReadStore};
use crate::outbox::engine::StoreFault;

type Query = Box<dyn FnOnce(&mut Lookout) + Send>;

/// At most this many look-ups wait.
const QUEUE: usize = 1024;

/// Runs look-ups one after the other.
#[derive(Clone)]
pub struct Reader(mpsc::Sender<Query>);

impl Reader {
    /// Starts the thread; it ends when the last `Reader` is gone. A database that cannot be opened now is opened by the
    /// first query that finds it, and again by the first one after the writer has written it back to its path.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(directory: &Path) -> Result<Self, StoreFault> {
        let mut lookout = Lookout { directory: directory.to_owned(), open: None };
        let (sender, mut queries) = mpsc::channel::<Query>(QUEUE);
        // The thread ends with the channel, so it is not joined.
        std::thread::Builder::new().name("outbox-reader".into()).spawn(move || {
            // What is open stays readable if it is removed before the first query. If it cannot be opened now, the
            // query says so.
            let _ = lookout.look_up(|_| Ok(()));
            while let Some(query) = queries.blocking_recv() {
                query(&mut lookout);
            }
        })?;
        Ok(Self(sender))
    }

    /// What `query` finds.
    ///
    /// # Errors
    /// When the store cannot be read, or the thread is gone.
    pub async fn call<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |lookout| {
            if reply.is_closed() {
                return;
            }
            // The caller may have stopped waiting.
            let _ = reply.send(lookout.look_up(query));
        });
        self.0.send(query).await.map_err(|_| StoreFault::Closed)?;
        answer.await.map_err(|_| StoreFault::Closed)?
    }
}

/// The thread's connection, and the files of the writer that it reads.
struct Lookout {
    directory: PathBuf,
    open: Option<(ReadStore, Option<Arc<OpenFiles>>)>,
}

impl Lookout {
    /// What a query finds. While the writer still writes to the files that it reads, the connection stays open, whatever
    /// has become of them: it finds in them what was committed. Behind the query is looked whether somebody else has
    /// written into them: what it found then is not passed on.
    fn look_up<T>(
        &mut self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreFault> {
        let in_use = schema::in_use(&self.directory);
        let found = query(self.connection(in_use.as_ref())?).map_err(StoreFault::from);
        // A connection that stayed open would keep the file from being written.
        self.open.take_if(|(store, _)| store.is_makeshift());
        in_use.iter().try_for_each(|files| files.look_inside().map(drop))?;
        found
    }

    fn connection(&mut self, in_use: Option<&Arc<OpenFiles>>) -> Result<&Connection, StoreFault> {
        let stays =
            self.open.take().filter(|(_, files)| files.as_ref().map(Arc::as_ptr) == in_use.map(Arc::as_ptr));
        let open = stays.map_or_else(|| schema::open_in_use(&self.directory), Ok)?;
        Ok(&self.open.insert(open).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_look_ups_wait_and_a_further_one_waits_in_front_of_them() {
        let (sender, mut queries) = mpsc::channel::<Query>(QUEUE);
        let reader = Reader(sender);
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..=QUEUE {
            let reader = reader.clone();
            waiting.spawn(async move { reader.call(|_| Ok(())).await });
        }
        while queries.len() < QUEUE {
            tokio::task::yield_now().await;
        }
        assert_eq!(queries.len(), QUEUE);
        drop(queries.recv().await);
        while queries.len() < QUEUE {
            tokio::task::yield_now().await;
        }
    }
}
