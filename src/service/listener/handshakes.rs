//! TLS handshakes, in turns: a flood of them costs at most half of the processors, and each network has the same part.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{Mutex as Turns, Semaphore};

/// The handshakes of one listener. Only steps wait for one another, which compute; while a handshake waits for its
/// client it is in nobody's way.
pub struct Handshakes {
    /// As many steps as may be computed at once.
    steps: Semaphore,
    networks: Mutex<HashMap<IpAddr, Network>>,
}

/// A network with handshakes under way.
struct Network {
    handshakes: usize,
    /// One handshake of the network at a time stands in line for a step, so that the line serves networks in turn.
    turns: Arc<Turns<()>>,
}

/// One handshake of a network, until it is dropped.
struct Handshake<'a> {
    all: &'a Handshakes,
    network: IpAddr,
    turns: Arc<Turns<()>>,
}

impl Handshakes {
    /// Steps are computed on so many processors at once.
    pub fn new(at_once: usize) -> Self {
        Self { steps: Semaphore::new(at_once), networks: Mutex::default() }
    }

    /// Steps are computed on half of this machine's processors.
    pub fn on_half_of_the_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((processors / 2).max(1))
    }

    /// Brings a handshake of this network to its end.
    pub async fn complete<T>(&self, network: IpAddr, handshake: impl Future<Output = T>) -> T {
        let entered = self.enter(network);
        let mut handshake = pin!(handshake);
        loop {
            if let Poll::Ready(output) = self.step(&entered, handshake.as_mut()).await {
                return output;
            }
            woken().await;
        }
    }

    async fn step<F: Future>(&self, entered: &Handshake<'_>, mut handshake: Pin<&mut F>) -> Poll<F::Output> {
        let _turn = entered.turns.lock().await;
        // It is never closed.
        let _step = self.steps.acquire().await;
        poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await
    }

    fn enter(&self, network: IpAddr) -> Handshake<'_> {
        let mut networks = self.networks();
        let new = || Network { handshakes: 0, turns: Arc::default() };
        let entry = networks.entry(network).or_insert_with(new);
        entry.handshakes += 1;
        Handshake { all: self, network, turns: Arc::clone(&entry.turns) }
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let mut networks = self.all.networks();
        let Some(network) = networks.get_mut(&self.network) else { return };
        network.handshakes -= 1;
        if network.handshakes == 0 {
            networks.remove(&self.network);
        }
    }
}

/// Ends once something wakes this task, such as what a pending handshake waits for.
async fn woken() {
    let mut is_polled = false;
    poll_fn(|_| if std::mem::replace(&mut is_polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::JoinSet;

    use super::*;

    fn network(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn networks_take_turns_however_many_handshakes_one_has() {
        let (handshakes, done) = (Arc::new(Handshakes::new(1)), Arc::new(Mutex::new(Vec::new())));
        // All of them wait for this one, which computes.
        let step = handshakes.steps.acquire().await.expect("open");
        let mut tasks = JoinSet::new();
        for (number, last) in [9, 9, 9, 9, 1, 2].into_iter().enumerate() {
            let (shared, done) = (Arc::clone(&handshakes), Arc::clone(&done));
            tasks.spawn(async move {
                let handshake = async { done.lock().expect("unlocked").push(last) };
                shared.complete(network(last), handshake).await;
            });
            // It stands in line now.
            while handshakes.networks().values().map(|network| network.handshakes).sum::<usize>() <= number {
                tokio::task::yield_now().await;
            }
        }
        drop(step);
        tasks.join_all().await;
        assert_eq!(*done.lock().expect("unlocked"), [9, 1, 2, 9, 9, 9]);
        assert!(handshakes.networks().is_empty());
    }

    #[tokio::test]
    async fn a_handshake_that_waits_for_its_client_is_in_nobodys_way() {
        let handshakes = Handshakes::new(1);
        let (send, sent) = oneshot::channel();
        let waits = handshakes.complete(network(1), sent);
        let other = async {
            handshakes.complete(network(1), async {}).await;
            handshakes.complete(network(2), async {}).await;
            send.send("hello").expect("it waits");
        };
        assert_eq!(tokio::join!(waits, other).0, Ok("hello"));
    }
}
