# Thin names over cargo, maturin and pytest. `make test` is what CI runs.
.PHONY: test setup lint rust docs
export CARGO_TERM_COLOR ?= auto

test: setup lint rust docs

setup: ; ./scripts/setup

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

rust:
	cargo test --workspace

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
