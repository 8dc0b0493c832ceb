//! Every target over its saved inputs, and for a while over inputs made of them: what a fuzzer does, without one.
//!
//! `EVENLY_FUZZ_MS=5000 cargo test -p evenly-fuzz` gives each target five seconds; without it each has a fifth of one.
//! The inputs that are made are the same each time; how many fit into the time is the machine's affair.

use std::{fs, path::Path, time::Duration, time::Instant};

use evenly_fuzz::TARGETS;

#[test]
fn saved_inputs_and_what_is_made_of_them_break_no_promise() {
    let time = std::env::var("EVENLY_FUZZ_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(200);
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "seeds/{name} is empty");
        seeds.iter().for_each(|seed| watched(name, seed, *target));
        let mut rng = balancers::Rng::new(1);
        let end = Instant::now() + Duration::from_millis(time);
        while Instant::now() < end {
            watched(name, &mutated(&seeds, &mut rng), *target);
        }
    }
}

/// Every target has a program, and every program is in the list.
#[test]
fn every_target_has_its_program() {
    let manifest = fs::read_to_string(Path::new(HERE).join("Cargo.toml")).expect("the manifest");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath")), "{name}");
    }
}

/// Runs a target, and names the input that it panics over.
fn watched(name: &str, input: &[u8], target: evenly_fuzz::Target) {
    struct Input<'a>(&'a str, &'a [u8]);
    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} breaks on b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _input = Input(name, input);
    target(input);
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(HERE).join("seeds").join(name);
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder of seeds").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("a file")).collect()
}

/// A seed with a few bytes changed, dropped, doubled, or taken from another.
fn mutated(seeds: &[Vec<u8>], rng: &mut balancers::Rng) -> Vec<u8> {
    let mut input = seeds[below(rng, seeds.len())].clone();
    for _ in 0..=below(rng, 6) {
        let at = below(rng, input.len() + 1);
        match below(rng, 5) {
            0 => input.insert(at, below(rng, 256) as u8),
            1 if at < input.len() => drop(input.remove(at)),
            2 if at < input.len() => input[at] = below(rng, 256) as u8,
            3 => {
                let other = &seeds[below(rng, seeds.len())];
                let from = below(rng, other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let again = input[at..].to_vec();
                input.extend(again.iter().take(LEN_MAX.saturating_sub(input.len())));
            }
        }
    }
    input.truncate(LEN_MAX);
    input
}

fn below(rng: &mut balancers::Rng, end: usize) -> usize {
    rng.below(end as u64) as usize
}

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const LEN_MAX: usize = 2048;
