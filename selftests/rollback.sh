#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A module that cannot get all of its hooks says so in one line, fails with a
# fitting error, and leaves nothing behind; whatever step it is that fails. So does
# one that finds another in its place, or a kernel that does not do at its hooks what
# it goes by.
#
# PIDNS_GUARD_KO names the module. Without it all is skipped.
#
# Where a kernel is wanted that lacks something, the module is made to look for
# a name that no kernel has: a copy of the very binary in which the name is
# written differently, in the same length. All else is as in a real case.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck disable=SC1091 # comes with the kernel source
source "$DIR/ktap_helpers.sh"

KO="${PIDNS_GUARD_KO:-}"
MODULES="${PIDNS_GUARD_TEST_MODULES:-$DIR/test_modules}"
TRACEFS=/sys/kernel/tracing
DEBUGFS=/sys/kernel/debug/pidns_guard
LIVEPATCH=/sys/kernel/livepatch/livepatch_alloc_pid

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

loaded() { [ -d /sys/module/pidns_guard ]; }

# The module's own complaints since the last call of mark().
mark() { echo "pidns_guard rollback: mark $1" >/dev/kmsg; }
complaints() {
	dmesg | sed -n "/rollback: mark $1\$/,\$p" | sed -n 's/.*pidns_guard: \(.*\): not loaded$/\1/p'
}

# Nothing of the module is left in the kernel.
nothing_left() {
	! loaded || { ktap_print_msg "still in /sys/module"; return 1; }
	! [ -e "$DEBUGFS" ] || { ktap_print_msg "still in debugfs"; return 1; }
	! [ -e "$TRACEFS/events/pidns_guard" ] || { ktap_print_msg "still has events"; return 1; }
	! grep -q 'pidns_guard\|zap_pid_ns_processes' "$TRACEFS/enabled_functions" ||
		{ ktap_print_msg "still in enabled_functions"; return 1; }
	! grep -q zap_pid_ns_processes /sys/kernel/debug/kprobes/list ||
		{ ktap_print_msg "still in the list of kprobes"; return 1; }
	# A probe left on a tracepoint would now run in freed memory. (With a member
	# that lives on, a kernel without guard and kill would wait for ever.)
	unshare -p -f sh -c '/bin/true; exit 7'
	[ $? -eq 7 ] || { ktap_print_msg "a namespace did not die"; return 1; }
}

# refused NAME ERROR LINE KO [PARAMETER...]: insmod fails with ERROR and says LINE.
refused() {
	local name=$1 error=$2 line=$3 ko=$4 said
	shift 4

	mark "$name"
	if said=$(insmod "$ko" "$@" 2>&1); then
		ktap_print_msg "$name: insmod succeeded"
		if [ "$ko" = "$tmp/$TWIN.ko" ]; then rmmod "$TWIN"; else rmmod pidns_guard; fi
		return 1
	fi
	case "$said" in
	*": $error") ;;
	*) ktap_print_msg "$name: $said, expected: $error"; return 1 ;;
	esac
	said=$(complaints "$name")
	[ "$said" = "$line" ] || {
		ktap_print_msg "$name: dmesg: $said, expected: $line"
		return 1
	}
}

# It takes part in the death of a namespace, the first or the NTH since it came.
working() {
	unshare -p -f sh -c 'sleep 1000 & exit 7'
	[ $? -eq 7 ] && grep -qx "namespaces_torn_down ${1:-1}" "$DEBUGFS/counters"
}

# The module as it is loads, does its work, and goes.
works() {
	insmod "$KO" || return 1
	working
	local ok=$?
	rmmod pidns_guard && nothing_left && return "$ok"
}

check() {
	local name=$1
	shift
	if [ -n "$KO" ]; then "$@"; else (exit "$KSFT_SKIP"); fi
	case $? in
	0) ktap_test_pass "$name" ;;
	"$KSFT_SKIP") ktap_test_skip "$name" ;;
	*) ktap_test_fail "$name" ;;
	esac
}

# lacking NAME LINE [PARAMETER...]: the binary, looking for something else in the
# place of NAME. In LINE, it is "it".
lacking() {
	local name=$1 other=${1%???}xyz line
	line=${2/%it/$other}
	line=${line/it()/$other()}
	shift 2
	LC_ALL=C sed "s/$name/$other/g" "$KO" >"$tmp/$name.ko"
	refused "$name" 'Operation not supported' "this kernel has no $line" "$tmp/$name.ko" "$@" &&
		nothing_left
}

UNKNOWN='this kernel is not supported'

# astray NAME OTHER LINE [PARAMETER...]: the binary, with a hook on OTHER in the place
# of NAME. That is there, but not where the module takes it to be.
astray() {
	local name=$1 other=$2 line=${3/%it/$2}
	shift 3
	LC_ALL=C sed "s/$name/$other/g" "$KO" >"$tmp/$name.ko"
	refused "$other for $name" 'No such device' "self-test failed: expected $line, but it did not: $UNKNOWN" \
		"$tmp/$name.ko" "$@" && nothing_left
}

# odd KIND LINE: the binary as it is, on a kernel made odd, see test_modules/odd_kernel.c.
# When that is as it was, the module loads.
odd() {
	[ -e "$MODULES/odd_kernel.ko" ] || return "$KSFT_SKIP"
	insmod "$MODULES/odd_kernel.ko" odd="$1" || return 1
	refused "odd $1" 'No such device' "self-test failed: expected $2: $UNKNOWN" "$KO" && nothing_left
	local ok=$?
	rmmod odd_kernel && works && return "$ok"
}

# A probe that could not be armed is not taken for one that is there, although Linux 7.3
# says that it is.
not_armed() {
	[ -e "$MODULES/odd_kernel.ko" ] || return "$KSFT_SKIP"
	# (Some compilers have no such function left.)
	insmod "$MODULES/odd_kernel.ko" odd=arm_kprobe || return "$KSFT_SKIP"
	refused 'not armed' 'Cannot allocate memory' 'out of memory' "$KO" && nothing_left
	local ok=$?
	rmmod odd_kernel && works && return "$ok"
}

bad_parameter() {
	refused parameter 'Invalid parameters' \
		"$1: wants 1, y or on, or else 0, n or off" "$KO" "$1" && nothing_left
}

# The binary under another name, as another version of it may have one. (Only the
# name in its struct module has so many zeroes behind it.)
TWIN=pidns_other
twin() {
	local zeroes
	# In struct module it has 56 bytes (MODULE_NAME_LEN), elsewhere KASAN adds up to 20.
	printf -v zeroes '\\x00%.0s' {1..45}
	LC_ALL=C sed "s/pidns_guard$zeroes/$TWIN$zeroes/; s/name=pidns_guard\x00/name=$TWIN\x00/" \
		"$KO" >"$tmp/$TWIN.ko"
}

# Neither gets into the other's way, but there is one at a time.
second_copy() {
	local before ok=0 params
	twin
	insmod "$KO" || return 1
	working || ok=1
	before=$(callbacks; ls "$TRACEFS/events/pidns_guard" "$DEBUGFS")
	for params in guard=1 guard=0 "guard=0 kill=0"; do
		# shellcheck disable=SC2086 # words
		refused "second copy, $params" 'Device or resource busy' \
			'another pidns_guard is loaded under another name (see lsmod)' \
			"$tmp/$TWIN.ko" $params || ok=1
	done
	[ "$before" = "$(callbacks; ls "$TRACEFS/events/pidns_guard" "$DEBUGFS")" ] || {
		ktap_print_msg "the first one is not what it was"
		ok=1
	}
	working 2 || ok=1
	rmmod pidns_guard && nothing_left || ok=1
	insmod "$tmp/$TWIN.ko" || return 1
	working || ok=1
	refused 'first copy' 'Device or resource busy' \
		'another pidns_guard is loaded under another name (see lsmod)' "$KO" || ok=1
	rmmod "$TWIN" && nothing_left && return "$ok"
}

# What is not of this kernel the kernel itself refuses, before the module is asked.
# Its words are in dmesg, too.
foreign() {
	local name=$1 error=$2 line=$3 said
	shift 3
	LC_ALL=C sed "$@" "$KO" >"$tmp/$name.ko"
	mark "$name"
	said=$(insmod "$tmp/$name.ko" 2>&1) && { rmmod pidns_guard; return 1; }
	[[ $said == *": $error" ]] || { ktap_print_msg "$said"; return 1; }
	dmesg | sed -n "/rollback: mark $name\$/,\$p" | grep -q "pidns_guard: $line" || {
		ktap_print_msg "not in dmesg: $line"
		return 1
	}
	nothing_left
}

# Nobody has mounted it: the module needs it for its files only.
without_debugfs() {
	local ok=0
	umount /sys/kernel/debug || return 1
	insmod "$KO" || ok=1
	mount -t debugfs none /sys/kernel/debug
	working || ok=1
	rmmod pidns_guard && nothing_left && return "$ok"
}

# Who has a file of its open keeps it, and closes what is still there.
open_file() {
	local ok=0 fd
	insmod "$KO" && exec {fd}<"$DEBUGFS/counters" || ok=1
	! rmmod pidns_guard 2>/dev/null || ok=1
	[ -z "${fd:-}" ] || exec {fd}<&-
	! loaded || rmmod pidns_guard || ok=1
	nothing_left && return "$ok"
}

# Said of all who may have the function: its line there says who has.
REDIRECTED="alloc_pid() is redirected by a livepatch, a kprobe with a post_handler or another \
pidns_guard, see its line in $TRACEFS/enabled_functions"

transition() { while [ "$(cat "$LIVEPATCH/transition" 2>/dev/null)" = 1 ]; do sleep 0.1; done; }

livepatch_on() { insmod "$MODULES/livepatch_alloc_pid.ko" && transition; }
livepatch_off() {
	echo 0 >"$LIVEPATCH/enabled"
	while [ -d "$LIVEPATCH" ]; do sleep 0.1; done
	rmmod livepatch_alloc_pid
}

# When the livepatch is gone, the module loads.
livepatch_first() {
	[ -e "$MODULES/livepatch_alloc_pid.ko" ] || return "$KSFT_SKIP"
	livepatch_on || return 1
	refused livepatch 'Device or resource busy' "$REDIRECTED" "$KO" && nothing_left
	local ok=$?
	# That line does say who.
	grep -q '^alloc_pid .*klp_ftrace_handler' "$TRACEFS/enabled_functions" || {
		ktap_print_msg "$(grep ^alloc_pid "$TRACEFS/enabled_functions")"
		ok=1
	}
	livepatch_off && works && return "$ok"
}

# Who is called where.
callbacks() { awk '{ print $1, $2 }' "$TRACEFS/enabled_functions"; }

# The other way round the livepatch is refused, leaves nothing behind, and the
# module stays as it was. When that is gone, the livepatch loads.
livepatch_second() {
	local said before after ok=0
	[ -e "$MODULES/livepatch_alloc_pid.ko" ] || return "$KSFT_SKIP"
	insmod "$KO" || return 1
	working || ok=1
	before=$(callbacks)
	if said=$(insmod "$MODULES/livepatch_alloc_pid.ko" 2>&1); then
		ktap_print_msg "the livepatch loaded"
		transition
		livepatch_off
		ok=1
	fi
	after=$(callbacks)
	[[ $said == *': Device or resource busy' ]] || { ktap_print_msg "$said"; ok=1; }
	[ "$before" = "$after" ] || { ktap_print_msg "before: $before, after: $after"; ok=1; }
	! [ -e "$LIVEPATCH" ] || { ktap_print_msg "still in $LIVEPATCH"; ok=1; }
	! [ -e /sys/module/livepatch_alloc_pid ] || { ktap_print_msg "still loaded"; ok=1; }
	working 2 || ok=1
	rmmod pidns_guard && nothing_left && livepatch_on && livepatch_off && return "$ok"
}

# A kprobe with a post_handler has the function to itself, as a livepatch has.
kprobe_first() {
	[ -e "$MODULES/kprobe_alloc_pid.ko" ] || return "$KSFT_SKIP"
	insmod "$MODULES/kprobe_alloc_pid.ko" || return 1
	refused kprobe 'Device or resource busy' "$REDIRECTED" "$KO" && nothing_left
	local ok=$?
	grep -q '^alloc_pid .* I .*kprobe_ftrace_handler' "$TRACEFS/enabled_functions" || {
		ktap_print_msg "$(grep ^alloc_pid "$TRACEFS/enabled_functions")"
		ok=1
	}
	rmmod kprobe_alloc_pid && works && return "$ok"
}

# The other way round the kprobe is not armed, and the module stays as it was.
kprobe_second() {
	local said before after ok=0
	[ -e "$MODULES/kprobe_alloc_pid.ko" ] || return "$KSFT_SKIP"
	insmod "$KO" || return 1
	working || ok=1
	before=$(callbacks)
	if said=$(insmod "$MODULES/kprobe_alloc_pid.ko" 2>&1); then
		# Linux 7.3 drops the error on the way (__register_kprobe()).
		! grep alloc_pid /sys/kernel/debug/kprobes/list || ok=1
	else
		[[ $said == *': Device or resource busy' ]] || { ktap_print_msg "$said"; ok=1; }
	fi
	after=$(callbacks)
	[ "$before" = "$after" ] || { ktap_print_msg "before: $before, after: $after"; ok=1; }
	working 2 || ok=1
	! [ -e /sys/module/kprobe_alloc_pid ] || rmmod kprobe_alloc_pid || ok=1
	rmmod pidns_guard && nothing_left && return "$ok"
}

FTRACE_ENABLED=/proc/sys/kernel/ftrace_enabled

# While the module is loaded nobody switches its hooks off. (From Linux 7.3 on nobody
# can in any case.)
ftrace_stays_on() {
	local ok=0
	insmod "$KO" || return 1
	if echo 0 2>/dev/null >"$FTRACE_ENABLED"; then
		ktap_print_msg "ftrace_enabled=0 succeeded"
		echo 1 >"$FTRACE_ENABLED"
		ok=1
	fi
	[ "$(<"$FTRACE_ENABLED")" = 1 ] || { ktap_print_msg "ftrace_enabled is not 1"; ok=1; }
	working || ok=1
	rmmod pidns_guard && nothing_left && return "$ok"
}

# If they are off before, it does not load; once they are on, it does.
ftrace_off() {
	echo 0 2>/dev/null >"$FTRACE_ENABLED" || return "$KSFT_SKIP"
	refused ftrace_off 'Device or resource busy' \
		'ftrace is off, turn it on with sysctl kernel.ftrace_enabled=1' "$KO"
	local ok=$?
	echo 1 >"$FTRACE_ENABLED"
	nothing_left && works && return "$ok"
}

ktap_print_header
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
if loaded; then rmmod pidns_guard || exit "$KSFT_FAIL"; restore=1; fi

# In the order in which the module sets them up.
ktap_set_plan 33
check rollback.works_before works
check rollback.no_return_probe lacking zap_pid_ns_processes 'it() to probe'
check rollback.no_free_tracepoint lacking sched_process_free 'tracepoint it'
check rollback.no_wait_tracepoint lacking sched_process_wait 'tracepoint it' early=0
check rollback.no_exit_tracepoint lacking sched_process_exit 'tracepoint it'
check rollback.no_fork_tracepoint lacking sched_process_fork 'tracepoint it'
check rollback.no_alloc_pid lacking alloc_pid 'it() to hook'
check rollback.no_dup_mmap lacking dup_mmap 'it() to hook'
check rollback.alloc_pid_elsewhere astray alloc_pid do_syslog 'a fork to call do_syslog()'
check rollback.fork_tracepoint_elsewhere astray sched_process_fork sched_process_hang 'a fork to fire it'
check rollback.exit_tracepoint_elsewhere astray sched_process_exit sched_process_hang \
	'a process to fire sched_process_hang when it dies'
check rollback.wait_tracepoint_elsewhere astray sched_process_wait sched_process_hang \
	'who waits for a child to fire it' early=0
check rollback.odd_fork odd fork \
	'sched_process_fork to pass the new process, which has its PID, but it passed something else'
check rollback.odd_wake odd woken \
	'a child not to be woken before sched_process_fork has fired, but it was'
check rollback.odd_exit odd exit \
	'signal->live to be 0 when sched_process_exit fires, and not before, but it was not so'
check rollback.odd_files odd files \
	'a process to have its files when sched_process_exit fires, but it had none'
check rollback.odd_kill odd kill_pid 'SIGKILL to reach a process, but it did not'
check rollback.odd_walk odd find_ge_pid 'a walk through all PIDs to meet a process, but it did not'
check rollback.odd_numbers odd __task_pid_nr_ns \
	'a process to have its number in each of its pid namespaces, but the kernel says otherwise'
check rollback.not_armed not_armed
check rollback.no_symbol foreign symbol 'Unknown symbol in module' \
	'Unknown symbol register_kretprxyz (err -2)' 's/register_kretprobe/register_kretprxyz/g'
check rollback.other_kernel foreign version 'Invalid module format' \
	"version magic 'x.* should be '" 's/vermagic=[0-9]/vermagic=x/'
check rollback.bad_parameter bad_parameter guard=banana
check rollback.second_copy second_copy
check rollback.without_debugfs without_debugfs
check rollback.open_file open_file
check rollback.livepatch_first livepatch_first
check rollback.livepatch_second livepatch_second
check rollback.kprobe_first kprobe_first
check rollback.kprobe_second kprobe_second
check rollback.ftrace_stays_on ftrace_stays_on
check rollback.ftrace_off ftrace_off
check rollback.works_after works

[ -z "${restore:-}" ] || insmod "$KO"
ktap_finished
