//! How the doors speak to the dispatcher.

use tokio::sync::{mpsc, oneshot};

use super::lanes::LargestTenants;
use super::status::LaneStatus;
use crate::ids::{DeliveryId, HookId};

/// Orders from the doors.
pub enum Instruction {
    Resume(HookId),
    Pause(HookId),
    /// The hook table has changed.
    Configure,
    /// A single hook has changed.
    ConfigureOne(HookId),
    /// Deliveries of these hooks, up to this one, are not to be made any more.
    Forget(Vec<HookId>, DeliveryId),
    Largest(usize, oneshot::Sender<LargestTenants>),
    /// How the lanes of these hooks do, in the same order.
    Status(Vec<HookId>, oneshot::Sender<Vec<LaneStatus>>),
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

    /// Forgets what waits for these hooks, up to a delivery: it is erased.
    pub async fn forget(&self, hooks: Vec<HookId>, up_to: DeliveryId) {
        let _ = self.0.send(Instruction::Forget(hooks, up_to)).await;
    }

    /// What waits for the `most` tenants that have the most, and for the others together.
    pub async fn largest(&self, most: usize) -> LargestTenants {
        let (reply, answer) = oneshot::channel();
        match self.0.send(Instruction::Largest(most, reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => LargestTenants::default(),
        }
    }

    /// How the lanes of these hooks do, in the same order; empty if the dispatcher has ended.
    pub async fn status(&self, hooks: Vec<HookId>) -> Vec<LaneStatus> {
        let (reply, answer) = oneshot::channel();
        match self.0.send(Instruction::Status(hooks, reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}
