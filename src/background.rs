//! Work that takes long and is not urgent: it must not keep those who serve from the processor.

use tokio::sync::oneshot;

/// About a tenth of the share of those who serve: they go first, yet it comes to an end when they
/// are never idle.
const NICENESS: i32 = 19;

/// Does `work` on a thread of its own, behind everybody else; none if it broke or could not begin.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let quietly = move || {
        // On Linux it is this thread's alone. Refused, the work is done all the same.
        let _ = rustix::process::nice(NICENESS);
        // Whoever asked may be gone.
        let _ = done.send(work());
    };
    // Its end is told by the channel, so nobody needs to join it.
    std::thread::Builder::new().name("background".into()).spawn(quietly).ok()?;
    result.await.ok()
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
