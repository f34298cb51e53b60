//! What a send is to whoever awaits it: its beginning, and what follows once its request is on its way.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, ready},
};

use super::{
    SendFuture, SendResult,
    accumulate::Gathered,
    flight::{self, Flight, Landed},
};
use crate::error::{Error, ErrorKind};

/// What an asynchronous send has come to when it is handed over.
pub(crate) enum HandedOver {
    /// Mostly its request is on its way.
    Begun(Sending),
    /// The message waits for company.
    Gathered(Gathered),
}

impl HandedOver {
    /// What the send comes to.
    pub(crate) async fn result(self) -> Result<SendResult, Error> {
        match self {
            Self::Begun(sending) => sending.result().await,
            Self::Gathered(gathered) => gathered.await,
        }
    }
}

/// The beginning of a send; becomes a send that has begun.
pub(crate) enum Start {
    Begun(Option<Sending>),
    /// It has to wait.
    Waits(Beginning),
}

/// A send that has to wait before its request is on its way.
pub(super) type Beginning = Pin<Box<dyn Future<Output = Sending> + Send>>;

impl Start {
    pub(super) fn begun(sending: Sending) -> Self {
        Self::Begun(Some(sending))
    }
}

impl Future for Start {
    type Output = Sending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Begun(sending) => {
                Poll::Ready((sending.take()).unwrap_or_else(|| Sending::done(Err(flight::ended()))))
            }
            Self::Waits(beginning) => beginning.as_mut().poll(cx),
        }
    }
}

/// An asynchronous send that is being handed over.
pub(crate) enum HandOver {
    Starts(Start),
    /// It is refused.
    Over(Option<Error>),
    /// For a place among those in flight, or for company.
    Waits(Pin<Box<dyn Future<Output = Result<HandedOver, Error>> + Send>>),
}

impl Future for HandOver {
    type Output = Result<HandedOver, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Starts(start) => Pin::new(start)
                .poll(cx)
                .map(|sending| Ok(HandedOver::Begun(sending))),
            Self::Over(error) => Poll::Ready(Err(error.take().unwrap_or_else(flight::ended))),
            Self::Waits(waits) => waits.as_mut().poll(cx),
        }
    }
}

/// A send that has begun. Dropping it ends the send; a request that is on its way may be stored nevertheless.
pub(crate) struct Sending(Stage);

enum Stage {
    /// The result is boxed, since few sends are over before they are awaited and each has a place for it.
    Done(Option<Result<Option<Box<SendResult>>, Error>>),
    Flying(Attended),
    Going(Going),
}

/// The stages of a send that has to wait.
pub(super) type Going = Pin<Box<dyn Future<Output = Result<Option<SendResult>, Error>> + Send>>;

/// A flight that ends when nobody awaits it any more.
struct Attended(Option<Arc<Flight>>);

impl Drop for Attended {
    fn drop(&mut self) {
        if let Some(flight) = &self.0 {
            flight.cancel();
        }
    }
}

impl Sending {
    /// It is over.
    pub(super) fn done(over: Result<Option<SendResult>, Error>) -> Self {
        Self(Stage::Done(Some(over.map(|result| result.map(Box::new)))))
    }

    /// Its first request is on its way.
    pub(super) fn flying(flight: Arc<Flight>) -> Self {
        Self(Stage::Flying(Attended(Some(flight))))
    }

    /// It has to wait once more.
    pub(super) fn going(going: Going) -> Self {
        Self(Stage::Going(going))
    }

    /// What the send comes to, of one that asks for an answer.
    pub(crate) async fn result(self) -> Result<SendResult, Error> {
        self.await?.ok_or_else(no_result)
    }

    /// Lets the send go on whether or not anybody awaits its ticket.
    ///
    /// # Errors
    /// Those of a send that is over already.
    pub(crate) fn detach(self) -> Result<SendFuture, Error> {
        match self.0 {
            Stage::Done(done) => {
                let result = done.unwrap_or_else(|| Err(flight::ended()))?;
                Ok(SendFuture::done(result.ok_or_else(no_result)))
            }
            Stage::Flying(mut attended) => match attended.0.take() {
                Some(flight) => {
                    flight.detach();
                    Ok(SendFuture::flying(flight))
                }
                None => Err(flight::ended()),
            },
            Stage::Going(going) => Ok(SendFuture::going(async {
                going.await?.ok_or_else(no_result)
            })),
        }
    }
}

impl Future for Sending {
    type Output = Result<Option<SendResult>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let going: Going = match &mut self.0 {
                Stage::Done(done) => {
                    let over = done.take().unwrap_or_else(|| Err(flight::ended()));
                    return Poll::Ready(over.map(|result| result.map(|result| *result)));
                }
                Stage::Going(going) => return going.as_mut().poll(cx),
                Stage::Flying(attended) => {
                    let Some(flight) = &attended.0 else {
                        return Poll::Ready(Err(flight::ended()));
                    };
                    match ready!(flight.poll(cx)) {
                        Landed::Over(over) => {
                            attended.0 = None;
                            return Poll::Ready(over.map(Some));
                        }
                        Landed::GoesOn(unfinished) => {
                            Box::pin(unfinished.run(Arc::new(AtomicBool::new(true))))
                        }
                    }
                }
            };
            self.0 = Stage::Going(going);
        }
    }
}

/// A request that was asked for an answer always has one.
pub(crate) fn no_result() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "send",
        "the send ended without a result",
    )
}
