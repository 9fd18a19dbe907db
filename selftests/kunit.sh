#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module's unit tests, which are in the module itself where the kernel has
# CONFIG_KUNIT=y, and run when they are asked for.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck disable=SC1091 # comes with the kernel source
source "$DIR/ktap_helpers.sh"

SUITES=/sys/kernel/debug/kunit
NAMES="index ledger ratelimit text thread"

# The suites are named here, so that one that is gone is missed.
run() {
	local suite=$SUITES/pidns_guard_$1

	if ! echo 1 >"$suite/run"; then
		ktap_print_msg "no $suite"
		return 1
	fi
	grep -q "^ok 1 pidns_guard_$1\$" "$suite/results" || {
		sed 's/^/# /' "$suite/results"
		return 1
	}
}

ktap_print_header
ktap_set_plan "$(wc -w <<<"$NAMES")"
for name in $NAMES; do
	if ! [ -d /sys/module/pidns_guard ]; then
		ktap_test_skip "kunit.$name # the module is not loaded"
	elif ! [ -d "$SUITES" ]; then
		ktap_test_skip "kunit.$name # the kernel has no KUnit, or kunit.enable=0"
	elif run "$name"; then
		ktap_test_pass "kunit.$name"
	else
		ktap_test_fail "kunit.$name"
	fi
done
ktap_finished
