#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module beside others who hook the same places, alloc_pid(), the sched events
# and zap_pid_ns_processes(): tracers, perf and BPF. Whoever comes first, and
# whoever goes first: the module enforces, and the other one sees what it always
# sees.
#
# PIDNS_GUARD_KO names the module. Without it all is skipped.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck disable=SC1091 # comes with the kernel source
source "$DIR/ktap_helpers.sh"

KO="${PIDNS_GUARD_KO:-}"
T=/sys/kernel/tracing
COUNTERS=/sys/kernel/debug/pidns_guard/counters
MODULES="${PIDNS_GUARD_TEST_MODULES:-$DIR/test_modules}"
CALLS=/sys/module/direct_alloc_pid/parameters/calls
ANSWER=/sys/module/same_name/parameters/answer

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkfifo "$tmp/answers"

loaded() { [ -d /sys/module/pidns_guard ]; }
# Into ${count[NAME]}. (Reading them here and not by a program of its own, as each
# takes long on an emulated CPU.)
declare -A count
read_counters() {
	local name value
	while read -r name value; do count[$name]=$value; done <"$COUNTERS"
}

# A namespace dies with a member in it, and then another with a fork after it.
deaths() {
	unshare -p -f sh -c 'sleep 1000 & exit 7'
	[ $? -eq 7 ] && ! unshare -p sh -c '/bin/true; /bin/true; exit 0' 2>/dev/null
}

# Both are the module's doing.
enforces() {
	local refused torn killed
	read_counters || return 1
	refused=${count[forks_refused]} torn=${count[namespaces_torn_down]}
	killed=${count[processes_killed]}
	deaths || { ktap_print_msg "not enforced"; return 1; }
	read_counters
	if ((count[forks_refused] <= refused || count[processes_killed] <= killed ||
		count[namespaces_torn_down] < torn + 2)); then
		ktap_print_msg "enforced, but not by the module"
		return 1
	fi
}

# What the other one has seen since the last time, into $said.
look() {
	case $other in
	perf | bpf)
		echo >&"$ask" && read -r said <&"$answers"
		;;
	direct)
		read -r said <"$CALLS" && echo 0 >"$CALLS"
		[ "$said" = 0 ] || said=calls
		;;
	same_name)
		read -r said <"$ANSWER"
		;;
	*)
		said=$(<"$T/trace") && echo >"$T/trace"
		;;
	esac
}

# The other one sees an ordinary fork, and the death of a namespace.
sees() {
	local what said
	look
	unshare -p -f sh -c 'exit 7'
	look
	for what in $seen; do
		case $said in
		*"$what"*) ;;
		*) ktap_print_msg "$what was not seen"; return 1 ;;
		esac
	done
}

tracer_on() {
	echo 'alloc_pid zap_pid_ns_processes' >"$T/set_ftrace_filter" && echo "$1" >"$T/current_tracer"
}
tracer_off() { echo nop >"$T/current_tracer" && echo >"$T/set_ftrace_filter"; }

function_on() { seen='alloc_pid zap_pid_ns_processes' && tracer_on function; }
function_off() { tracer_off; }
graph_on() { seen='alloc_pid zap_pid_ns_processes' && tracer_on function_graph; }
graph_off() { tracer_off; }
events_on() {
	seen='sched_process_exit sched_process_fork'
	echo 1 >"$T/events/sched/sched_process_exit/enable" &&
		echo 1 >"$T/events/sched/sched_process_fork/enable"
}
events_off() {
	echo 0 >"$T/events/sched/sched_process_exit/enable"
	echo 0 >"$T/events/sched/sched_process_fork/enable"
}
kprobes_on() {
	[ -e "$T/kprobe_events" ] || return "$KSFT_SKIP"
	seen='beside_alloc beside_zap beside_zapped'
	{
		echo 'p:beside_alloc alloc_pid'
		echo 'p:beside_zap zap_pid_ns_processes'
		echo 'r:beside_zapped zap_pid_ns_processes'
	} >"$T/kprobe_events" && echo 1 >"$T/events/kprobes/enable"
}
kprobes_off() { echo 0 >"$T/events/kprobes/enable" && echo >"$T/kprobe_events"; }

# They live in a process of their own, and end with it.
holder_on() {
	local said
	exec {ask}> >(exec "$DIR/beside_events" "$1" >"$tmp/answers")
	holder=$!
	exec {answers}<"$tmp/answers"
	read -r said <&"$answers"
	[ "$said" = ready ] || { ktap_print_msg "$said"; holder_off; return; }
}
holder_off() {
	exec {ask}>&- {answers}<&-
	wait "$holder"
}
perf_on() {
	seen='exit-tracepoint fork-tracepoint context-switches alloc_pid-kprobe zap-kretprobe'
	holder_on perf
}
perf_off() { holder_off; }
bpf_on() {
	seen='exit-raw-tracepoint fork-raw-tracepoint exit-tracepoint fork-tracepoint
		alloc_pid-kprobe zap-kretprobe alloc_pid-fprobe'
	holder_on bpf
}
bpf_off() { holder_off; }

# As fentry does it: this one, and not a redirection, is what the module can share
# the function with.
direct_on() {
	[ -e "$MODULES/direct_alloc_pid.ko" ] || return "$KSFT_SKIP"
	seen=calls
	insmod "$MODULES/direct_alloc_pid.ko"
}
direct_off() { rmmod direct_alloc_pid; }

# It hooks nothing. Its own function is left alone, although ftrace knows it by the
# name of the kernel's.
same_name_on() {
	[ -e "$MODULES/same_name.ko" ] || return "$KSFT_SKIP"
	seen=own
	insmod "$MODULES/same_name.ko"
}
same_name_off() { rmmod same_name; }

# Who comes first, and who goes first: other, module.
scene() {
	local other=$1 first=$2 gone=$3
	if [ "$first" = other ]; then
		"${other}_on" || return $?
		insmod "$KO" || { "${other}_off"; return 1; }
	else
		insmod "$KO" || return 1
		"${other}_on" || { local skip=$?; rmmod pidns_guard; return "$skip"; }
	fi
	enforces && sees
	local ok=$?
	if [ "$gone" = other ]; then
		"${other}_off"
		enforces || ok=1
		rmmod pidns_guard || ok=1
	else
		rmmod pidns_guard || ok=1
		sees || ok=1
		"${other}_off"
	fi
	return "$ok"
}

ktap_print_header
if loaded; then rmmod pidns_guard || exit "$KSFT_FAIL"; restore=1; fi

ktap_set_plan 32
for other in function graph events kprobes perf bpf direct same_name; do
	for first in other module; do
		for gone in other module; do
			name=beside.$other.$first-first.$gone-gone-first
			if [ -n "$KO" ]; then scene $other $first $gone; else (exit "$KSFT_SKIP"); fi
			case $? in
			0) ktap_test_pass "$name" ;;
			"$KSFT_SKIP") ktap_test_skip "$name" ;;
			*) ktap_test_fail "$name" ;;
			esac
		done
	done
done

[ -z "${restore:-}" ] || insmod "$KO"
ktap_finished
