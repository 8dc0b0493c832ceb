//! A tower service over a pool: feature `tower`.
//!
//! tower's own balancer needs `&mut self` and forgets a request when its response begins. This one is cheap to clone,
//! knows weights, health and keys, and its response carries the lease: drop it when the body has been sent.
//!
//! Members are asked to become ready when a request is given to them, not before: pick among those that are likely to
//! take it (health, load) rather than among those that said so a moment ago.
//!
//! ```
//! use balancers::{Algorithm, Pool, Query, tower::Balance};
//! # use std::{convert::Infallible, future::{Future, Ready, ready}, pin::pin, task::{Context, Poll, Waker}};
//! use tower_service::Service;
//!
//! # #[derive(Clone)] struct Backend(&'static str);
//! # impl Service<&'static str> for Backend {
//! #     type Response = String; type Error = Infallible; type Future = Ready<Result<String, Infallible>>;
//! #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> { Poll::Ready(Ok(())) }
//! #     fn call(&mut self, path: &'static str) -> Self::Future { ready(Ok(format!("{} has {path}", self.0))) }
//! # }
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     let mut future = pin!(future);
//! #     loop { if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) { return out } }
//! # }
//! let pool = Pool::new(Algorithm::Ring);
//! pool.update(|edit| {
//!     edit.add("a", 1, Backend("a"))?;
//!     edit.add("b", 1, Backend("b"))
//! })?;
//!
//! let mut balance = Balance::new(pool.clone(), |path: &&'static str| Query::for_key(path.as_bytes()));
//! let answer = block_on(balance.call("/logo.png")).unwrap();
//! assert!(answer.ends_with(" has /logo.png"));
//! assert_eq!(pool.members().iter().map(|m| m.in_flight).sum::<u32>(), 1); // until the answer is dropped
//! drop(answer);
//! assert_eq!(pool.members().iter().map(|m| m.in_flight).sum::<u32>(), 0);
//! # Ok::<(), balancers::EditError>(())
//! ```

use core::fmt;
use core::future::{Future, poll_fn};
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Instant;

use tower_service::Service;

use crate::error::PickError;
use crate::live::Outcome;
use crate::pool::{Lease, Pool};
use crate::query::Query;

/// A service that hands each request to a member of a pool of services.
#[derive(Clone, Debug)]
pub struct Balance<S, Q> {
    pool: Pool<S>,
    query: Q,
}

impl<S, Q> Balance<S, Q> {
    /// Over a pool; `query` makes the question of a request (`|_: &Request| Query::new()` for algorithms without keys).
    pub fn new<R>(pool: Pool<S>, query: Q) -> Self
    where
        Q: Fn(&R) -> Query<'_>,
    {
        Self { pool, query }
    }
}

impl<S, Q, R> Service<R> for Balance<S, Q>
where
    S: Service<R, Future: Send, Error: Send> + Clone + Send + Sync + 'static,
    Q: Fn(&R) -> Query<'_>,
    R: Send + 'static,
{
    type Response = Leased<S::Response, S>;
    type Error = BalanceError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let picked = self.pool.pick(&(self.query)(&request));
        Box::pin(async move {
            let lease = picked.map_err(BalanceError::Pick)?;
            let (mut service, start) = (S::clone(&lease), Instant::now());
            let answer = match poll_fn(|context| service.poll_ready(context)).await {
                Ok(()) => service.call(request).await,
                Err(error) => Err(error),
            };
            lease.report(Outcome { latency: start.elapsed(), ok: answer.is_ok() });
            answer.map(|response| Leased { response, lease }).map_err(BalanceError::Member)
        })
    }
}

/// A response, and the lease of the member that gave it: the request is in flight until this is dropped.
#[derive(Debug)]
pub struct Leased<R, S> {
    response: R,
    lease: Lease<S>,
}

impl<R, S> Leased<R, S> {
    /// The response, and what to drop when it has been sent.
    pub fn into_parts(self) -> (R, Lease<S>) {
        (self.response, self.lease)
    }
}

impl<R, S> Deref for Leased<R, S> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.response
    }
}

/// Nobody to ask, or the one who was asked failed.
#[derive(Debug)]
pub enum BalanceError<E> {
    /// No member could be picked.
    Pick(PickError),
    /// The picked member's own error.
    Member(E),
}

impl<E: fmt::Display> fmt::Display for BalanceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pick(error) => error.fmt(f),
            Self::Member(error) => write!(f, "the picked member failed: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for BalanceError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Pick(error) => Some(error),
            Self::Member(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::{Future, Ready, ready};
    use core::pin::Pin;
    use core::task::{Context, Poll};

    use core::task::Waker;
    use std::error::Error;

    use super::{Balance, BalanceError};
    use crate::{Algorithm, PickError, Pool, Query};
    use tower_service::Service;

    #[derive(Clone)]
    struct Echo;

    impl Service<u32> for Echo {
        type Response = u32;
        type Error = ();
        type Future = Ready<Result<u32, ()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, number: u32) -> Self::Future {
            ready(Ok(number))
        }
    }

    /// As tower's `oneshot`: a future that knows of the service's.
    struct Call<S: Service<u32>>(S::Future);

    impl<S: Service<u32, Future: Unpin>> Future for Call<S> {
        type Output = bool;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
            Pin::new(&mut self.0).poll(context).map(|answer| answer.is_ok())
        }
    }

    fn call<S: Service<u32>>(mut service: S) -> Call<S> {
        Call(service.call(1))
    }

    /// A query that said `'static` of itself could not be asked by a closure inside of a task: "one type is more general
    /// than the other".
    #[test]
    fn a_closure_asks_inside_of_a_spawned_task() {
        fn spawn<F: Future<Output = bool> + Send + 'static>(_: F) {}
        let pool: Pool<Echo> = Pool::new(Algorithm::P2c);
        let balance = Balance::new(pool, |_: &u32| Query::new());
        spawn(async move { call(balance).await });
    }

    /// Refuses odd numbers, and is ready for nothing once it is broken.
    #[derive(Clone, Debug)]
    struct Even {
        is_broken: bool,
    }

    impl Service<u32> for Even {
        type Response = u32;
        type Error = core::num::TryFromIntError;
        type Future = Ready<Result<u32, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(if self.is_broken { u8::try_from(256).map(drop) } else { Ok(()) })
        }

        fn call(&mut self, number: u32) -> Self::Future {
            ready(if number.is_multiple_of(2) { Ok(number) } else { u8::try_from(256).map(u32::from) })
        }
    }

    fn answer<S: Service<u32>>(service: &mut S, number: u32) -> Result<S::Response, S::Error> {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let mut future = core::pin::pin!(service.call(number));
        match future.as_mut().poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("nothing here waits"),
        }
    }

    fn balance(
        is_broken: bool,
    ) -> (
        Pool<Even>,
        impl Service<u32, Response = super::Leased<u32, Even>, Error = BalanceError<core::num::TryFromIntError>>,
    ) {
        let pool = Pool::new(Algorithm::P2c);
        pool.update(|edit| edit.add("a", 1, Even { is_broken })).unwrap();
        (pool.clone(), Balance::new(pool, |_: &u32| Query::new()))
    }

    #[test]
    fn an_answer_is_in_flight_until_its_lease_is_dropped() {
        let (pool, mut balance) = balance(false);
        let leased = answer(&mut balance, 4).unwrap();
        assert_eq!(*leased, 4);
        let (number, lease) = leased.into_parts();
        assert_eq!((number, lease.id(), pool.members()[0].in_flight), (4, "a", 1));
        drop(lease);
        assert_eq!(pool.members()[0].in_flight, 0);
    }

    #[test]
    fn a_member_that_fails_is_told_from_nobody_to_ask() {
        for (is_broken, number) in [(false, 3), (true, 4)] {
            let (pool, mut balance) = balance(is_broken);
            let failed = answer(&mut balance, number).unwrap_err();
            assert!(failed.to_string().starts_with("the picked member failed: out of range"), "{failed}");
            assert!(failed.source().is_some_and(|source| source.is::<core::num::TryFromIntError>()));
            assert_eq!(pool.members()[0].in_flight, 0, "a failed request is in flight no longer");
            pool.set_up("a", false).unwrap();
            let nobody = answer(&mut balance, 4).unwrap_err();
            assert!(matches!(nobody, BalanceError::Pick(PickError::AllDown)));
            assert_eq!(nobody.to_string(), PickError::AllDown.to_string());
            assert!(nobody.source().is_some_and(|source| source.is::<PickError>()));
        }
    }
}
