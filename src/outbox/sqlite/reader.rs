//! A thread with a read-only connection: look-ups never wait for the writer.

use std::path::Path;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::schema;
use crate::outbox::engine::StoreFault;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// At most this many look-ups wait.
const QUEUE: usize = 1024;

/// Runs look-ups one after the other.
#[derive(Clone)]
pub struct Reader(mpsc::Sender<Query>);

impl Reader {
    /// Starts the thread; it ends when the last `Reader` is gone.
    ///
    /// # Errors
    /// When the store cannot be read, or the system gives no thread.
    pub fn start(directory: &Path) -> Result<Self, StoreFault> {
        let connection = schema::open_reader(&schema::path(directory))?;
        let (sender, mut queries) = mpsc::channel::<Query>(QUEUE);
        // The thread ends with the channel, so it is not joined.
        std::thread::Builder::new().name("outbox-reader".into()).spawn(move || {
            while let Some(query) = queries.blocking_recv() {
                query(&connection);
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
        let query: Query = Box::new(move |connection| {
            if reply.is_closed() {
                return;
            }
            // The caller may have stopped waiting.
            let _ = reply.send(query(connection));
        });
        self.0.send(query).await.map_err(|_| StoreFault::Closed)?;
        Ok(answer.await.map_err(|_| StoreFault::Closed)??)
    }
}
