//! Work that takes long and is not urgent, on threads of low priority: it must not delay requests and
//! deliveries.

use tokio::sync::oneshot;

/// Gives a background thread about a tenth of a serving thread's share of the processor: enough to finish on a
/// busy machine.
const NICENESS: i32 = 19;

/// Runs `work` on a thread of its own, at low priority; none if it panicked or the thread could not be started.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let quietly = move || {
        step_back();
        // The caller may have stopped waiting.
        let _ = done.send(work());
    };
    // The channel reports the thread's end, so it is not joined.
    std::thread::Builder::new().name("background".into()).spawn(quietly).ok()?;
    result.await.ok()
}

/// Lowers the priority of this thread, for good.
pub fn step_back() {
    // On Linux the priority is that of this thread only. If the system refuses, the work is done at normal priority.
    let _ = rustix::process::nice(NICENESS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_steps_back_and_nobody_else_does() {
        let niceness = || rustix::process::getpriority_process(None).expect("a priority");
        let before = niceness();
        assert_eq!(run(niceness).await, Some((before + NICENESS).min(19)));
        assert_eq!(niceness(), before);
        assert_eq!(run(|| panic!("on purpose")).await, None::<()>);
    }
}
