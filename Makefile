# Thin names over cargo, maturin and pytest. `make test` is what CI runs.
.PHONY: test setup lint rust docs readme
export CARGO_TERM_COLOR ?= auto

test: setup lint rust docs readme

setup: ; ./scripts/setup

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

rust:
	cargo test --workspace

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The first command of the README, with a load of its own so that it ends. Its table must be there.
readme:
	cargo run --release -- demo --requests 2000 | tee /dev/stderr | grep -q '^requests 2000 · failed 0'
