//! Which memcached server holds a key: as libketama and the clients built on it place it, so that programs in other
//! languages find the same keys. `cargo run -p balancers --features libketama --example memcached -- some keys`
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use balancers::algorithms::KetamaScheme;
use balancers::{Algorithm, Options, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::default().with_ketama(KetamaScheme::Libketama);
    let pool = Pool::builder().options(options).build(Algorithm::Ketama)?;
    pool.update(|edit| {
        edit.add("10.0.1.1:11211", 600, ())?;
        edit.add("10.0.1.2:11211", 300, ())?;
        edit.add("10.0.1.3:11211", 200, ())
    })?;
    let mut servers = pool.reader();
    let mut keys: Vec<String> = std::env::args().skip(1).collect();
    if keys.is_empty() {
        keys = ["user:17", "user:18", "session:9f3"].map(String::from).to_vec();
    }
    for key in keys {
        // A client only wants to know where; nothing is counted.
        println!("{key:<12} {}", servers.peek(&Query::for_key(key.as_bytes()))?.id());
    }
    Ok(())
}
