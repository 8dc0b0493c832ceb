//! A tower service over a pool, called from four threads: `cargo run -p balancers --features tower --example tower`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use balancers::tower::Balance;
use balancers::{Algorithm, Pool, Query};
use tower_service::Service;

#[derive(Clone)]
struct Backend(u32);

impl Service<u32> for Backend {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        ready(Ok(number * 1000 + self.0))
    }
}

fn main() -> Result<(), balancers::EditError> {
    let pool = Pool::new(Algorithm::P2c);
    pool.update(|edit| (0..3).try_for_each(|n| edit.add(format!("backend {n}"), n + 1, Backend(n))))?;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut balance = Balance::new(pool.clone(), |_: &u32| Query::new());
            scope.spawn(move || {
                (0..1000).filter(|n| block_on(balance.call(thread * 1000 + n)).is_ok()).count()
            });
        }
    });
    for member in pool.members() {
        println!(
            "{} weight {}: {} picks, {} in flight",
            member.id, member.weight, member.picks, member.in_flight
        );
    }
    Ok(())
}

/// These backends answer at once, so that asking again and again will do.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}
