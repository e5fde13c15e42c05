//! The long-lived tasks, each with a name for the log.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::JoinSet;

/// The service's tasks, by name.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    /// Starts a task.
    pub fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// The names of those that have not ended, for the log.
    pub fn names(&self) -> String {
        let mut names: Vec<_> = self.names.values().copied().collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Waits for the next task to end; a panic is said in the log.
    pub async fn next(&mut self) -> &'static str {
        let id = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(%error, "a task broke");
                error.id()
            }
            None => return "every task",
        };
        self.names.remove(&id).unwrap_or("a task")
    }

    /// Waits until the task of this name has ended.
    pub async fn wait_for(&mut self, name: &'static str) {
        while self.names.values().any(|running| *running == name) {
            self.next().await;
        }
    }

    /// Waits until every task has ended.
    pub async fn wait_for_all(&mut self) {
        while !self.names.is_empty() {
            self.next().await;
        }
    }
}
