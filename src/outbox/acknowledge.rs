//! How a request waits for its event to be stored, and is answered even if the store is not there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::decide::Decision;
use super::feed::{News, Ready};
use super::inbox::{Append, Inbox, Post, Standing};
use super::{Fate, Outbox, Receipt};
use crate::telemetry::Degradation;

/// How long an append waits for a store that was away a moment ago.
const STORE_AWAY: Duration = Duration::from_millis(20);

/// Neither the store nor the memory queue has room: LiveKit is to try again.
#[derive(Debug, thiserror::Error)]
#[error("neither the store nor memory has room")]
pub struct Full;

impl Outbox {
    /// Routes and stores an event; returns once it is durable, or in memory if the store does not
    /// take it in time.
    ///
    /// # Errors
    /// [`Full`] when there is room nowhere.
    pub async fn append(&self, post: Post) -> Result<Receipt, Full> {
        if self.shared.health.is_on(Degradation::Full) {
            return Err(Full);
        }
        let (reply, mut answer) = oneshot::channel();
        let append = Arc::new(Append::new(post, reply));
        // A request that is given up takes its event back out of the queue.
        let _waiting = Waiting { inbox: &self.shared.inbox, append: &append };
        if !self.shared.inbox.append(Arc::clone(&append)) {
            return Err(Full);
        }
        // Once the store is known to be away, nobody waits the whole time for it again: LiveKit sends
        // a room's next event only after this answer. But only a whole wait says that it is away.
        let patience = self.config.append_within;
        let away = || self.shared.health.is_on(Degradation::Store);
        let known = away();
        let first = if known { STORE_AWAY.min(patience) } else { patience };
        let mut waited = self.clock.timeout(first, &mut answer).await;
        if known && waited.is_err() && !away() {
            waited = self.clock.timeout(patience.saturating_sub(first), &mut answer).await;
        }
        if waited.is_err() && !away() && self.shared.health.raise(Degradation::Store) {
            tracing::error!("the store does not answer in time; serving from memory");
        }
        match waited {
            Ok(Ok(receipt)) => Ok(receipt),
            // The writer is gone: the service is ending, and this event was not stored.
            Ok(Err(_)) => Err(Full),
            Err(_) => self.overdue(&append, answer).await,
        }
    }

    /// Answers a request whose time is up.
    async fn overdue(&self, append: &Append, answer: oneshot::Receiver<Receipt>) -> Result<Receipt, Full> {
        match self.overtake(append) {
            Some(answered) => answered,
            // The writer has said that it answers, and is about to.
            None => answer.await.map_err(|_| Full),
        }
    }

    /// Acknowledges an append from memory; none if the writer answers it in this very moment.
    fn overtake(&self, append: &Append) -> Option<Result<Receipt, Full>> {
        // Without a writer nothing would ever be written down. Asked before the standing is locked:
        // see the order of locks at `Inbox`.
        let ended = self.shared.inbox.has_ended();
        // As far as memory knows its call; asked before the standing is locked, too.
        let mut decision = Decision::new(&append.post);
        {
            // The writer may have it, and be hung.
            let calls = self.shared.calls.try_lock().ok();
            let session = decision.session.as_deref();
            let call = session.zip(calls.as_ref()).and_then(|(session, calls)| calls.remembered(session));
            // Of a call memory does not know, only who begins it says whose it is.
            let begins = ["participant_joined", "participant_connection_aborted"];
            if session.is_none() || call.is_some() || begins.contains(&&*decision.event.name) {
                decision.route(&self.shared.knowledge, call);
            }
            decision.finish();
        }
        let mut standing = append.standing();
        if !matches!(*standing, Standing::Waiting(_)) {
            return None;
        }
        if ended {
            return Some(Err(Full));
        }
        let Some(local) = self.shared.unwritten.admit(append.post.body.len()) else {
            // The request ends with this, and takes its event back.
            return Some(Err(Full));
        };
        let fate = match &decision.route.outcome {
            // Whose it is, the store may know: it is asked when it is back.
            Err(reason) => Fate::Unrouted(*reason),
            Ok((hook, rule)) => {
                let counted = self.shared.fresh.count(0);
                let paused = self.paused_ms(hook.id, append.post.received_at);
                let delivery = decision.delivery((hook, *rule), local, None, paused, counted);
                let delivery = Arc::new(delivery);
                self.shared.feed.push([News::Ready(Ready {
                    id: local,
                    hook: hook.id,
                    chain: delivery.chain,
                    due: None,
                    fresh: Some(Arc::clone(&delivery)),
                })]);
                Fate::Routed(delivery)
            }
        };
        *standing = Standing::Overdue { id: local, sent: matches!(fate, Fate::Routed(_)) };
        Some(Ok(Receipt { durable: false, ..decision.receipt(fate) }))
    }
}

/// A request that waits for its event to be stored.
struct Waiting<'a> {
    inbox: &'a Inbox,
    append: &'a Arc<Append>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut standing = self.append.standing();
        if matches!(*standing, Standing::Waiting(_)) {
            *standing = Standing::Withdrawn;
            drop(standing);
            self.inbox.withdraw(self.append);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::BodyHash;
    use crate::outbox::{Config, Hooks, LastGood, Retention};
    use crate::route::Door;
    use crate::signature::MasterSecret;
    use crate::telemetry::Health;
    use crate::time::{Clock, UnixMillis};

    fn open(directory: &std::path::Path, clock: &Clock) -> Outbox {
        let config = Config {
            directory: directory.to_owned(),
            to_fallback: true,
            hold: Duration::from_secs(20),
            append_within: Duration::from_millis(500),
            memory_room: 1 << 20,
            retention: Retention::default(),
        };
        let hooks = Hooks { entries: Vec::new(), read: LastGood::default() };
        let master = MasterSecret::parse(&"m".repeat(32)).expect("long enough");
        Outbox::open(config, hooks, master, clock.clone(), Arc::new(Health::default())).expect("an outbox")
    }

    #[tokio::test]
    async fn a_time_that_is_up_while_the_writer_answers_waits_for_that_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(UnixMillis(1_795_240_012_000));
        let outbox = open(folder.path(), &clock);
        let body = Bytes::from_static(br#"{"event":"room_started","id":"EV_1","room":{"sid":"RM_1"}}"#);
        let post = Post {
            hash: BodyHash::of(&body),
            body,
            issuer: "APItest".into(),
            received_at: clock.unix(),
            came: clock.now(),
            door: Door::Platform,
        };
        let receipt = outbox.append(post.clone()).await.expect("stored");
        let (reply, answer) = oneshot::channel();
        let append = Append::new(post, reply);
        // The writer takes who waits, and is interrupted before it answers.
        let taken = std::mem::replace(&mut *append.standing(), Standing::Answered);
        let Standing::Waiting(reply) = taken else { panic!("nobody waits") };
        let late = async {
            tokio::task::yield_now().await;
            reply.send(receipt).expect("somebody waits");
        };
        let (answered, ()) = tokio::join!(outbox.overdue(&append, answer), late);
        assert_eq!(answered.expect("stored").event_id.as_str(), "EV_1");
        outbox.close();
        outbox.writer_ended().await;
    }
}
