//! An async loader: a thousand tasks ask for the same pages, each page is fetched once, failures are shared.
//!
//! `cargo run -p cache --example loader`
#![allow(clippy::print_stdout)] // that is what it is for

use cache::{Cache, LoadError};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static FETCHED: AtomicU32 = AtomicU32::new(0);

async fn fetch(page: u32) -> Result<String, String> {
    FETCHED.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(20)).await;
    if page == 404 { Err("not found".to_owned()) } else { Ok(format!("page {page}")) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages = Cache::<u32, String>::builder(1_000).negative_ttl(Duration::from_secs(60)).build()?;
    let tasks: Vec<_> = (0..1_000)
        .map(|task| {
            let pages = pages.clone();
            tokio::spawn(async move {
                let page = task % 10;
                pages.try_get_or_insert_async(&page, fetch(page)).await
            })
        })
        .collect();
    for (task, page) in tasks.into_iter().enumerate() {
        assert_eq!(page.await?.ok(), Some(format!("page {}", task % 10)));
    }
    assert_eq!(FETCHED.load(Ordering::Relaxed), 10);

    for _ in 0..5 {
        match pages.try_get_or_insert_async(&404, fetch(404)).await {
            Err(LoadError::Failed(error)) => assert_eq!(*error, "not found"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(FETCHED.load(Ordering::Relaxed), 11, "the failure is remembered for a minute");
    println!("1005 requests, {} fetches", FETCHED.load(Ordering::Relaxed));
    Ok(())
}
