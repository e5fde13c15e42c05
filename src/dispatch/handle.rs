//! How the doors speak to the dispatcher.

use tokio::sync::{mpsc, oneshot};

use crate::ids::HookId;

/// Orders from the doors.
pub enum Instruction {
    Resume(HookId),
    Pause(HookId),
    /// The hook table has changed.
    Configure,
    /// A single hook has changed.
    ConfigureOne(HookId),
    Pending(oneshot::Sender<Vec<(HookId, usize)>>),
}

/// The doors' handle of the dispatcher.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Instruction>);

impl Handle {
    pub fn new(commands: mpsc::Sender<Instruction>) -> Self {
        Self(commands)
    }

    /// All that a hook has is due at once: its pause is stored as ended.
    pub async fn resume(&self, hook: HookId) {
        // If the dispatcher has ended, the service ends, too.
        let _ = self.0.send(Instruction::Resume(hook)).await;
    }

    /// Starts nothing for a hook until it is resumed: its pause is stored.
    pub async fn pause(&self, hook: HookId) {
        let _ = self.0.send(Instruction::Pause(hook)).await;
    }

    /// Puts the settings of a new hook table in force.
    pub async fn configure(&self) {
        let _ = self.0.send(Instruction::Configure).await;
    }

    /// Puts the settings of one hook in force.
    pub async fn configure_one(&self, hook: HookId) {
        let _ = self.0.send(Instruction::ConfigureOne(hook)).await;
    }

    /// How many deliveries wait, by hook.
    pub async fn pending(&self) -> Vec<(HookId, usize)> {
        let (reply, answer) = oneshot::channel();
        match self.0.send(Instruction::Pending(reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}
