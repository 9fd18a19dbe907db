# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every script here shares: where the cache is, how to speak, how to wait.
# To be sourced, after `set -euo pipefail`.

# The caller's PATH may put tools of its own (rustup, pyenv) before the
# distribution's, and root's may lack the sbin directories.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C

# shellcheck disable=SC2034 # for those who source this
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${XDG_CACHE_HOME:-${HOME:?is not set: the cache lives below it}/.cache}/pidns_guard
mkdir -p "$CACHE/lock"

say() { printf '%s\n' "$*" >&2; }

# die WHAT [WHAT TO DO]: one line, then the end.
die() {
	say "${0##*/}: $1${2:+ -- $2}"
	exit "${DIE_STATUS:-1}"
}

# kbuild_sources PATH...: the files there that modules are built from, without those
# that a build has made.
kbuild_sources() {
	find "$@" \( -name Kbuild -o -name Makefile -o -name '*.rs' -o -name '*.[ch]' \) ! -name '*.mod.c' | sort
}

# elapsed SINCE: "2 min 10 s"
elapsed() {
	local s=$((SECONDS - $1))
	if ((s < 60)); then echo "$s s"; else echo "$((s / 60)) min $((s % 60)) s"; fi
}

# lock NAME: one at a time, until this process and its children are gone. The
# kernel drops the lock of a process that is killed.
lock() {
	local fd
	exec {fd}>"$CACHE/lock/$1"
	LOCK_FD=$fd
	flock -n "$fd" && return
	say "  $1: another run is at it, waiting for it"
	flock "$fd"
}

unlock() { exec {LOCK_FD}>&-; }

STEP_PID=
interrupted() {
	trap - INT TERM HUP
	[[ -z $STEP_PID ]] || kill -TERM -- "-$STEP_PID" 2>/dev/null || true
	say "${0##*/}: interrupted"
	exit 130
}
trap interrupted INT TERM HUP

# step LABEL LOG [TOTAL PATTERN] -- COMMAND...: runs COMMAND with its output in
# LOG and says how far it is: the lines of LOG that match PATTERN, of TOTAL. Its
# status is COMMAND's; on failure the log's end is shown.
step() {
	local label=$1 log=$2 total=0 pattern='' pid n start=$SECONDS said=0 status=0
	shift 2
	if [[ $1 != -- ]]; then
		total=$1 pattern=$2
		shift 2
	fi
	shift
	: >"$log"
	# A process group of its own, so that all of it can be stopped with us.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$! STEP_PID=$!
	set +m
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [[ -t 2 ]] || ((SECONDS - said >= 10 && SECONDS - start >= 5)); then
			n=
			[[ -z $pattern ]] || n="$(grep -cE "$pattern" "$log" || true)/$total, "
			if [[ -t 2 ]]; then
				printf '\r\033[K  %s: %s%s' "$label" "$n" "$(elapsed "$start")" >&2
			else
				say "  $label: $n$(elapsed "$start")"
			fi
			said=$SECONDS
		fi
	done
	wait "$pid" || status=$?
	STEP_PID=
	[[ -t 2 ]] && printf '\r\033[K' >&2
	if ((status)); then
		tail -n 30 "$log" >&2
		say "  $label: FAILED after $(elapsed "$start"), the whole output is in $log"
		return "$status"
	fi
	say "  $label: done, $(elapsed "$start")"
}
