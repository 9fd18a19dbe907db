# SPDX-License-Identifier: GPL-2.0
#
# The front door. `make help` lists the targets; what the module is made of is
# in Kbuild.
#
# Without KDIR, whatever a target needs is set up first: packages, kernels. With
# KDIR=/path/to/built/kernel nothing is installed or fetched, and the module is
# built for that one. KSRC=/path/to/source builds the dev kernels from a tree of
# one's own, SERIES=7.2 from Debian's newest of that series.

export KDIR KSRC SERIES
export PIDNS_GUARD_KO ?= $(CURDIR)/pidns_guard.ko

# Where to build: expanded in recipes only, when the tree exists.
kdir = $$(scripts/kernel/build --print-kdir)
kbuild = scripts/kbuild "$(kdir)" M="$(CURDIR)"
# The kernel's lib.mk takes its own directory for the output only on level 0.
selftests = MAKELEVEL=0 $(MAKE) -C selftests

# Targets are commands for people here, and each is made of one script.
.PHONY: all modules modules_install run test test-debug test-debian test-arm64 random parity programs model soak deep matrix bench check shell selftests \
	deb test-deb kernel kernels-debug setup rust-analyzer clean help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

all: modules

## modules: build pidns_guard.ko (the default)
modules: $(if $(KDIR),,kernel)
	@$(kbuild) modules

## modules_install: install it for the kernel of KDIR
modules_install: modules
	@$(kbuild) modules_install

## run: show what the module is for, in a VM, on real programs
run: modules selftests
	@scripts/demo

## test: the selftests on {stock, bare} x {without, with the module}
test: modules selftests
	@scripts/four-ways $(addprefix --only ,$(TESTS)) $(ARGS)

## test-debug: the selftests with the module under KASAN, lockdep, kmemleak (slow)
test-debug: selftests
	@scripts/test-debug $(KERNEL) $(ARGS) $(TESTS)

## test-debian: the selftests on the kernel that Debian ships, KERNEL=debian|debian-generic
test-debian: selftests
	@scripts/four-ways --kernel $(or $(KERNEL),debian) $(addprefix --only ,$(TESTS)) $(ARGS)

## test-arm64: the selftests on {arm64, arm64-bare}, as test does
test-arm64: $(if $(KDIR),,kernel)
	@scripts/four-ways --kernel arm64 $(addprefix --only ,$(TESTS)) $(ARGS)

## random: COUNT= random programs from SEED= on, judged by an oracle of their own
random: modules selftests
	@scripts/random $(addprefix --seed ,$(SEED)) $(addprefix --count ,$(COUNT)) $(ARGS)

## parity: the kernel's own selftests, whose results the module must not change
parity: modules
	@scripts/parity $(ARGS)

## programs: container runtimes and the like, without and with the module
programs: modules selftests
	@scripts/setup --programs
	@scripts/four-ways --alone programs.sh --timeout 1200 $(ARGS)

## model: prove the race of a fork with the death of an init, on a model of it
model: $(if $(KDIR),,setup)
	@scripts/model $(ARGS)

## soak: storms for MINUTES=, or ROUNDS= of load and unload, on KERNEL=stock|bare|debug|debug-bare
soak: modules selftests
	@scripts/soak $(addprefix --kernel ,$(KERNEL)) $(addprefix --minutes ,$(MINUTES)) \
		$(addprefix --rounds ,$(ROUNDS)) $(ARGS)

## deep: all that takes too long for every change: hours (scripts/deep --list)
deep: modules selftests
	@scripts/deep $(ARGS)

## matrix: every suite on every kernel that the module is made for, in a table: hours
matrix:
	@scripts/matrix $(ARGS)

## bench: what the module costs and what it brings, as ratios, in a table and pictures
bench: modules selftests
	@scripts/bench $(ARGS)

## deb: the package pidns-guard-dkms, for Debian with a kernel of backports, and print where it is
deb:
	@scripts/debian/deb

## test-deb: install, upgrade and purge that package, in a userland of Debian's to throw away
test-deb: selftests
	@scripts/debian/test-deb $(ARGS)

## check: rustfmt, clippy, checkpatch, shellcheck and the like
check: $(if $(KDIR),,kernel)
	@scripts/check

## shell: a root shell in a VM with the module loaded
shell: modules
	@scripts/vm

## selftests: build the selftests, without running them
selftests: $(if $(KDIR),,kernel)
	@$(selftests) KDIR="$(kdir)"

## kernel: build the stock and the bare kernel into the cache
kernel:
	@scripts/kernel/build all

## kernels-debug: build the debug kernels into the cache
kernels-debug:
	@scripts/kernel/build debug

## setup: install the packages and tools that all this needs
setup:
	@scripts/setup

## rust-analyzer: write rust-project.json for an editor
rust-analyzer: $(if $(KDIR),,kernel)
	@scripts/rust-analyzer "$(kdir)"

## clean: remove what was built here (not the cache)
clean:
	@find . -path ./.git -prune -o \( -name '*.o' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name '.*.cmd' -o -name '*.rmeta' -o -name Module.symvers \
		-o -name modules.order -o -name .module-common.o -o -name rust-project.json \) \
		-type f -exec rm -f {} +
	@$(selftests) -s clean KDIR="$(kdir)" >/dev/null 2>&1 || true

## help: this
help:
	@echo 'Targets:'
	@sed -n 's/^## \([^:]*\): \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo 'Variables: KDIR=, KSRC=, SERIES= (see scripts/kernel/build --help), TESTS="guard_test ...",'
	@echo '           KERNEL=debug-bare (for test-debug),'
	@echo '           ARGS= (for scripts/test-debug, scripts/four-ways, scripts/random, scripts/parity, scripts/model, scripts/bench,'
	@echo '                  scripts/debian/test-deb)'
