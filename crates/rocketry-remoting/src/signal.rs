//! What ends the work of a connection's tasks, as they look at it: with each read and each write.
//!
//! A [`CancellationToken`] is asked under a lock, and whoever is to be told by it stands in a list behind another. A server with thousands of
//! connections finds none of that in the processor's caches.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Given once, and for good.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_given: AtomicBool,
    token: CancellationToken,
}

impl Signal {
    pub(crate) fn give(&self) {
        // before the token tells those who wait: they look here
        self.is_given.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(crate) fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Acquire)
    }

    /// Done when it is given.
    pub(crate) fn given(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

/// A task that looks for a signal again and again, and is woken by it.
pub(crate) struct Lookout<'p, 'a> {
    signal: &'a Signal,
    given: Pin<&'p mut WaitForCancellationFuture<'a>>,
    /// Whom the signal wakes; it need not be told again.
    woken: Option<Waker>,
}

impl<'p, 'a> Lookout<'p, 'a> {
    /// `given` is that of `signal`.
    pub(crate) fn new(
        signal: &'a Signal,
        given: Pin<&'p mut WaitForCancellationFuture<'a>>,
    ) -> Self {
        Self {
            signal,
            given,
            woken: None,
        }
    }

    /// Whether the signal is given; the task is woken when it will be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.is_given() {
            return Poll::Ready(());
        }
        if let Some(woken) = &self.woken
            && woken.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        self.woken = Some(cx.waker().clone());
        self.given.as_mut().poll(cx)
    }

    /// Done when the signal is given.
    pub(crate) async fn given(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_waker_of_the_last_look_is_woken() {
        let signal = Signal::default();
        let given = pin!(signal.given());
        let mut lookout = Lookout::new(&signal, given);
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        for count in [&first, &first, &second, &second] {
            let waker = Waker::from(Arc::clone(count));
            assert!(lookout.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        signal.give();
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(lookout.poll(&mut cx).is_ready() && signal.is_given());
        assert!(lookout.poll(&mut cx).is_ready());
    }
}
