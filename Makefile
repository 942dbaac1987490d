# check: the fast part. test: everything, on real servers that it starts itself. month: a month of life, recounted.
# dashboards: every query of every panel, and alerts, on real Prometheus and Alertmanager.
# store: what concerns Redis, on the server that BURSAR_REDIS_SERVER names: Redis 7 or 8, or Valkey.
# instructions: how many instructions an event costs, by part; the same on every run.
# model: 100,000 steps of random lives, in which account and definition must agree. Rare sequences of commands still differ,
# so test plays the scenarios on the model and leaves lives out.
# soak: the model, the simulation and the faults, many times over; hours.
.PHONY: check test model month dashboards store instructions soak servers

TRACES ?= data/azure-llm-2023-conv-3000.csv

check:
	scripts/timed "formatting" cargo fmt --check
	scripts/timed "lints" cargo clippy --locked --all-targets --features faults -- -D warnings
	scripts/timed "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	scripts/timed "unit and scenario tests" cargo test --locked --features faults --lib --test scenarios -- --skip n1_through

test: servers check
	scripts/timed "model (the scenarios against the definition)" cargo test --locked --features faults --test model -- --skip l1_
	scripts/timed "contract tests (ledger on memory and Redis)" cargo test --locked --features faults --test ledger
	scripts/timed "scenarios through the service (real Kafka and Redis)" cargo test --locked --features faults --test scenarios -- n1_through
	scripts/timed "process tests (real Kafka and Redis)" cargo test --locked --features faults --test process
	scripts/timed "simulation (1,000 seeds, and each defence off)" cargo test --locked --features faults --test simulation
	scripts/timed "faults (real Kafka and Redis, and each defence off)" cargo test --locked --features faults --test faults
	$(MAKE) --no-print-directory month dashboards
	@cat target/timed.txt

model:
	STEPS=100000 scripts/timed "model (100,000 steps)" cargo test --locked --features faults --test model -- --nocapture

month:
	cargo test --locked --features faults --test process --no-run
	scripts/timed "a month of life, recounted" tests/month/run.py --speed 60000 $(TRACES)

dashboards:
	cargo test --locked --features faults --test process --no-run
	scripts/timed "dashboards and alerts (real Prometheus and Alertmanager)" tests/dashboards/run.py

store:
	$${BURSAR_REDIS_SERVER:-redis-server} --version
	cargo test --locked --features faults --test ledger
	cargo test --locked --features faults --test scenarios -- n1_through
	cargo test --locked --features faults --test faults -- cluster:: dependencies:: failover::

instructions:
	command -v valgrind >/dev/null || (apt-get update -qq && apt-get install -y -qq valgrind)
	cargo install --quiet --root target/tools gungraun-runner --version 0.20.0
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo bench --locked --bench account

servers:
	@rm -f target/timed.txt
	scripts/timed "installing servers" scripts/servers install

soak: servers
	STEPS=2000000 scripts/timed "model (2,000,000 steps)" cargo test --locked --features faults --test model -- --nocapture l1_
	SEEDS=20000 scripts/timed "simulation (20,000 seeds)" cargo test --locked --features faults --test simulation -- --nocapture e1_u
	SOAK=1 scripts/timed "faults, many times" cargo test --locked --features faults --test faults -- --nocapture --include-ignored
