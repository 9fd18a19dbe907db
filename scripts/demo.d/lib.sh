# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How the demo tells its story, in the guest. To be sourced.

set -u

bold='' dim='' off=''
if [[ -n ${DEMO_COLOR:-} ]]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; fi

tell() { printf '%s\n' "$*"; }
chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$off"; }

# show COMMAND...: as if typed, with its output indented.
show() {
	printf '%s  # %s%s\n' "$dim" "$*" "$off"
	"$@" 2>&1 | sed 's/^/    /'
	return "${PIPESTATUS[0]}"
}

# must WHAT COMMAND...: the story goes on only if it is true.
must() {
	local what=$1
	shift
	"$@" && return
	printf '\nThis did not happen as told: %s\n' "$what"
	exit 1
}

mustnt() {
	local what=$1
	shift
	! "$@" || must "$what" false
}

# until_true COMMAND...: waits for what takes a moment, 20 s at most.
until_true() {
	local end=$((SECONDS + 20))
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }

# in_state PID LETTERS: whether the task is in one of these states.
in_state() {
	local state
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[[ -n $state && $2 == *$state* ]]
}

# sleeps_in PID FUNCTION
sleeps_in() { grep -q "^\[<0>\] $2[+.]" "/proc/$1/stack" 2>/dev/null; }

# load_module [PARAMETER...]
load_module() {
	show insmod "$PIDNS_GUARD_KO" "$@" || must "the module loads" false
}

# What the module has said since the last call.
module_says() {
	dmesg | grep 'pidns_guard: ' | grep -v taint | sed 's/^/    /' | tail -n "+$((${said:-0} + 1))"
	said=$(dmesg | grep 'pidns_guard: ' | grep -vc taint)
}
