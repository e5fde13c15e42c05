//! How the doors speak to the dispatcher.

use tokio::sync::{mpsc, oneshot};

use super::lanes::HookBacklog;
use crate::ids::HookId;

/// Orders from the doors.
pub enum Instruction {
    Resume(HookId, oneshot::Sender<bool>),
    Pause(HookId),
    /// The hook table has changed.
    Configure,
    Pending(oneshot::Sender<Vec<HookBacklog>>),
}

/// The doors' handle of the dispatcher.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Instruction>);

impl Handle {
    pub fn new(commands: mpsc::Sender<Instruction>) -> Self {
        Self(commands)
    }

    /// Ends a hook's pause: all it has is due at once. True if it was paused.
    pub async fn resume(&self, hook: HookId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.0.send(Instruction::Resume(hook, reply)).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Starts nothing for a hook until it is resumed, as the hooks file says.
    pub async fn pause(&self, hook: HookId) {
        // If the dispatcher has ended, the service ends, too.
        let _ = self.0.send(Instruction::Pause(hook)).await;
    }

    /// Puts the settings of a new hook table in force.
    pub async fn configure(&self) {
        let _ = self.0.send(Instruction::Configure).await;
    }

    /// What waits, by hook.
    pub async fn pending(&self) -> Vec<HookBacklog> {
        let (reply, answer) = oneshot::channel();
        match self.0.send(Instruction::Pending(reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}
