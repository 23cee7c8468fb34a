# The programs end up in target/dhow. Everything else here checks them.
CARGO   ?= cargo
OUT     := target/dhow
# What --version says of it, as runc says of itself.
export DHOW_COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
BUILT   := $(or $(CARGO_TARGET_DIR),target)/$(shell rustc --print host-tuple)
PARTS   := -p dhow-runtime -p dhow-image -p dhow
THREADS ?= 2
# A shell's job in the background ignores Ctrl-C, and what it starts would, too.
CASES   := env --default-signal=INT,QUIT RUST_BACKTRACE=0

.PHONY: all ci-build test unit e2e bench guest guests pages install uninstall deb package clauses mutants oracle security conformance-full fmt lint deny fresh clean

all:
	$(CARGO) build --release --locked $(PARTS)
	tests/place.sh $(BUILT)/release $(OUT)

# The same programs as the tests' own build has them, with overflow and debug assertions checked.
ci-build:
	$(CARGO) build --locked $(PARTS)
	tests/place.sh $(BUILT)/debug $(OUT)

# What CI runs. `sh tests/setup.sh` installs what it needs.
test: ci-build pages
	$(CASES) $(CARGO) test --workspace --locked -- --test-threads=$(THREADS)

unit:
	$(CARGO) test --workspace --exclude e2e --locked

# The end-to-end cases alone, on what is in target/dhow; CASE=shim:: picks some.
e2e:
	$(CASES) $(CARGO) test -p e2e --locked -- --test-threads=$(THREADS) $(CASE)

bench: all
	$(CARGO) run --release --locked -p e2e --bin bench

# The guest with a pure cgroup v2; its cases run by themselves in `make test` too.
guest:
	tests/guest/guest.sh build

# The runtime's and dhow's cases inside guests: root and a user, with and without systemd. MODE=systemd
# is one, CASE=runtime::exec some of them.
guests: ci-build
	tests/guest/run.sh $(or $(MODE),all) $(CASE)

# How many clauses of the specifications are shown, and how.
clauses:
	$(CARGO) run -q --locked -p e2e --bin clauses

# Breaks each clause that is held, in a copy, and sees a test fail.
mutants:
	$(CARGO) run -q --locked -p e2e --bin clauses mutate

# Asks a dockerd ($DHOW_ORACLE, an empty one's socket) again what dhow is compared with.
oracle:
	$(CARGO) run -q --locked -p e2e --bin docker record $(GROUP)

# Known flaws of runtimes on ours, crun and runc; writes docs/security.md.
security: ci-build
	$(CARGO) run -q --locked -p e2e --bin security -- --write

conformance-full: all
	conformance/run.sh

# Man pages, completions and systemd units, into target/pages.
pages:
	$(CARGO) build --workspace --examples --locked
	rm -rf target/pages
	for example in pages image-pages dhow-pages; do $(BUILT)/debug/examples/$$example target/pages || exit; done

# `make install PREFIX=/usr DESTDIR=…`; more in `./install.sh --help`.
install: all pages
	./install.sh $(if $(PREFIX),--prefix $(PREFIX))

uninstall:
	./install.sh --uninstall $(if $(PREFIX),--prefix $(PREFIX))

# target/debian/dhow_*.deb, by cargo-deb (cargo install cargo-deb).
deb: all pages
	tests/deb.sh $(OUT) target/pages target/debian

# The package built, looked at by lintian, and through dpkg's verbs in a guest.
package: all pages
	tests/package.sh $(OUT) target/pages

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deny:
	tests/deny.sh

# The README's two commands in a bare Debian root of their own.
fresh:
	tests/fresh.sh

clean:
	$(CARGO) clean
