//! A cache of images, bounded by bytes: large ones push out several small ones, too large ones are not kept.
//!
//! `cargo run -p cache --example images`
#![allow(clippy::print_stdout)] // that is what it is for

use cache::{Cache, Policy};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const MIB: usize = 1 << 20;
    let images = Cache::<String, Arc<[u8]>>::builder(10 * MIB as u64)
        .policy(Policy::Lru)
        .shards(1) // few and large entries: one order for all of them
        .weigher(|path, image| (path.len() + image.len()) as u64)
        .build()?;
    let image = |bytes: usize| Arc::from(vec![0_u8; bytes]);

    for number in 0..9 {
        images.insert(format!("thumbnail {number}"), image(MIB));
    }
    assert_eq!(images.len(), 9);
    images.insert("poster".to_owned(), image(5 * MIB));
    assert_eq!(images.len(), 5, "the poster and the four newest thumbnails");
    assert!(images.contains("thumbnail 8") && !images.contains("thumbnail 0"));
    assert!(
        !images.insert("wall".to_owned(), image(11 * MIB)),
        "heavier than the whole cache: refused at once"
    );
    assert!(images.weight() <= images.capacity());
    println!("{} images, {} of {} bytes", images.len(), images.weight(), images.capacity());
    Ok(())
}
