#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# pidns-top says what is: about made-up ledgers, about real situations by /proc
# alone, and about the same ones with the module. (Python takes its time where
# the CPU is emulated, so what was said once serves several tests.)
#
# PIDNS_GUARD_KO names the module. Without it what needs the module is skipped.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck disable=SC1091 # comes with the kernel source
source "$DIR/ktap_helpers.sh"

TOP=$DIR/pidns-top # where the tests are installed
[ -e "$TOP" ] || TOP=$DIR/../scripts/pidns-top
KO="${PIDNS_GUARD_KO:-}"
LEDGER=/sys/kernel/debug/pidns_guard/teardowns.json

tmp=$(mktemp -d)
mkfifo "$tmp/ready" "$tmp/go"
exec 8<>"$tmp/ready" 9<>"$tmp/go" {never}<> <(:)
exec 2>/dev/null # bash tells of each child that was killed
started=()
finish() {
	umount "$tmp/mount" "$tmp/freezer"
	for pid in "${started[@]}"; do
		# shellcheck disable=SC2046 # PIDs are words
		kill -KILL $(children "$pid") "$pid"
	done
	rm -rf "$tmp"
}
trap finish EXIT

loaded() { [ -d /sys/module/pidns_guard ]; }
children() { echo "$(<"/proc/$1/task/$1/children")"; }
sleeps_in() { [[ $(<"/proc/$1/stack") == *" $2+"* ]]; }

# Waits for what takes a moment, a minute at most.
until_true() {
	local end=$((SECONDS + 60))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || { ktap_print_msg "never came true: $*"; return 1; }
		read -rt 0.05 -u "$never" || true
	done
}

# run ARGUMENT...: what pidns-top says is in $said, and its exit status in $status.
run() {
	said=$("$TOP" "$@" 2>&1)
	status=$?
}
# Whether it was this status, and all of these texts.
says() {
	local ret=0
	[ "$status" -eq "$1" ] || { ktap_print_msg "exit status $status, expected: $1"; ret=1; }
	shift
	for text; do
		[[ $said == *"$text"* ]] || { ktap_print_msg "not said: $text"; ret=1; }
	done
	[ "$ret" -eq 0 ] || printf '# %s\n' "${said//$'\n'/$'\n# '}"
	return "$ret"
}
# about PID TEXT...: of what --explain has said, the part about one process.
about() {
	local all=$said pid=$1 ok
	shift
	said=$(sed -n "/^[^ ]* (pid $pid): /,/^\$/p" <<<"$all")
	says "$status" "$@"
	ok=$?
	said=$all
	return "$ok"
}

check() {
	local name=$1
	shift
	"$@"
	case $? in
	0) ktap_test_pass "$name" ;;
	"$KSFT_SKIP") ktap_test_skip "$name" ;;
	*) ktap_test_fail "$name" ;;
	esac
}
with_module() { if [ -n "$KO" ]; then "$@"; else return "$KSFT_SKIP"; fi; }

# --- A ledger that is made up

# entry PIDNS STATE AGE LEFT INIT HOLDERS
entry() {
	printf '{"pidns":%s,"level":1,"state":"%s","init":{"pid":1230,"comm":"%s","how":"killed",' "$1" "$2" "$5"
	printf '"code":9,"core":false},"before_load":false,"age_us":%s,"kill_us":41,"empty_us":null,' "$3"
	printf '"left_us":%s,"killed":3,"stragglers":0,"forks_refused":17,"holders":[%s],"more_holders":0}\n' "$4" "$6"
}
# holder COMM: a zombie, as an older module wrote it
holder() {
	printf '{"pid":1242,"pid_inside":5,"pidns":1,"comm":"%s","state":"Z","reason":"unreaped",' "$1"
	printf '"blocker":{"pid":1241,"comm":"nsenter"},"function":null,"fuse_connection":null,"cgroup":null,'
	printf '"memory_kb":null,"text":"zombie, not reaped by its parent nsenter (pid 1241)"}'
}
make_up() {
	printf 'namespaces_torn_down 812\nforks_refused 17\n' >"$tmp/counters"
	{
		entry 101 waiting 90000000 null young "$(holder worker)"
		entry 102 stuck 73000000 null old "$(holder worker),$(holder worker),$(holder worker)"
		entry 103 stuck 7200000000 null oldest "$(holder 'x\u001b]0;y\u0007\u009b2J\u007f\u000a')"
		entry 104 gone 500000000 2100 'over\u001b[2J' ''
	} >"$tmp/teardowns.json"
}

# Names come from anybody, and go to a terminal.
only_printable() { ! LC_ALL=C grep '[^[:print:]]' <<<"$said"; }
# The stuck come first, then the others, then those that are over; the oldest first.
view() {
	run --from "$tmp"
	says 1 'since load: 812 torn down, 17 forks refused' '(and 2 more like it)' 'took 2ms' \
		'-> have nsenter (pid 1241) reap pid 1242 (waitpid)' &&
		only_printable &&
		[ "$(sed -n 's/^\(stuck\|waiting\|finished\) .* \(10[0-9]\) .*/\1 \2/p' <<<"$said" | xargs)" = \
		'stuck 103 stuck 102 waiting 101 finished 104' ]
}
json() {
	run --from "$tmp" --json
	says 1 && only_printable && [ "$(grep -c '^{.*}$' <<<"$said")" -eq 4 ]
}
terminal() { "$DIR/top_terminal.py" "$TOP" --delay 0.2 --from "$tmp"; }

# --- Situations that are real

# Whether these have come to their last exec().
are_sleep() {
	local comm
	[ $# -gt 0 ] || return 1
	for pid; do read -r comm <"/proc/$pid/comm" && [ "$comm" = sleep ] || return 1; done
}
# shellcheck disable=SC2046 # PIDs are words
has_sleep() { are_sleep $(children "$1"); }
# shellcheck disable=SC2005,SC2046 # without the blank behind it
only_child() { until_true has_sleep "$1" && echo $(children "$1"); }
pidns() { stat -Lc %i "/proc/$1/ns/pid_for_children"; }

# A process whose first child is over: its children would be born in a dead namespace.
dead_namespace() {
	unshare -p bash -c '/bin/true; exec sleep 1000' &
	dead=$! started+=($!)
	until_true are_sleep "$dead"
	exec 7<"/proc/$dead/ns/pid_for_children"
}
# ... and one that has not had a child.
unborn_namespace() {
	unshare -p bash -c 'echo >&8; read -r -u 9; sh -c "echo \$\$" >&8; exec sleep 1000' &
	unborn=$! started+=($!)
	read -r -u 8
}
# A namespace with a member whose parent is outside, and never reaps it.
held_namespace() {
	unshare -p -f sleep 1000 &
	healthy=$! started+=($!)
	init=$(only_child "$healthy") || return 1
	nsenter --pid="/proc/$init/ns/pid" --no-fork bash -c 'sleep 1000 & exec sleep 1000' &
	parent=$! started+=($!)
	member=$(only_child "$parent") && until_true are_sleep "$parent"
	held=$(pidns "$parent")
}
# Both die, and init waits for the zombie.
init_dies() {
	kill -KILL "$member"
	kill -KILL "$init"
	until_true sleeps_in "$init" zap_pid_ns_processes
}
# A namespace that is still to be born, below one that is dead.
unborn_below_dead() {
	local outer init member
	unshare -p -f sleep 1000 &
	outer=$!
	init=$(only_child "$outer") || return 1
	nsenter --pid="/proc/$init/ns/pid" unshare -p sleep 1000 &
	started+=($!)
	member=$(only_child "$!") || return 1
	nsenter --pid="/proc/$member/ns/pid_for_children" --no-fork sleep 1000 &
	below=$! started+=($!)
	until_true are_sleep "$below" || return 1
	kill -KILL "$member"
	kill -KILL "$init"
	wait "$outer"
}

# An init that is told to die, but frozen by the cgroup above its own.
frozen_init() {
	local freezer=$tmp/freezer
	mkdir -p "$freezer"
	mountpoint -q "$freezer" || mount -t cgroup -o freezer none "$freezer" || return
	mkdir -p "$freezer/outer/inner"
	unshare -p -f sleep 1000 &
	frozen_parent=$! started+=($!)
	frozen=$(only_child "$frozen_parent") || return
	echo "$frozen" >"$freezer/outer/inner/cgroup.procs"
	echo FROZEN >"$freezer/outer/freezer.state"
	# A task that sleeps may be frozen where it is, without a visit to __refrigerator().
	until_true grep -qx FROZEN "$freezer/outer/freezer.state"
	kill -KILL "$frozen"
}
# A member that its tracer, which is outside, keeps stopped at its exit.
traced_member() {
	unshare -p -f sleep 1000 &
	traced_parent=$! started+=($!)
	traced_init=$(only_child "$traced_parent") || return 1
	nsenter --pid="/proc/$traced_init/ns/pid" sleep 1000 &
	started+=($!)
	traced=$(only_child "$!") || return 1
	# PTRACE_SEIZE with PTRACE_O_TRACEEXIT
	python3 -IS -c '
import ctypes, sys, time
request, pid, address, options = map(ctypes.c_long, (0x4206, int(sys.argv[1]), 0, 0x40))
ctypes.CDLL(None).ptrace(request, pid, address, options)
print(flush=True)
time.sleep(1000)' "$traced" >&8 &
	tracer=$! started+=($!)
	read -r -u 8
	kill -KILL "$traced_init"
	kill -KILL "$traced" # which a bare kernel does not
	until_true sleeps_in "$traced" ptrace_stop
}

about_healthy() { about "$healthy" ': all is well' "the init there is sleep (pid $init)"; }
about_unborn() { about "$unborn" 'all is well, but' "the init of pid namespace $(pidns "$unborn"), which has none yet"; }
about_none() { says 1 'no process 4194304'; }
# To find out it asks for a fork that cannot be: none was.
leaves_no_trace() {
	local first
	echo >&9
	read -r -u 8 first
	[ "$first" = 1 ]
}
about_dead() {
	about "$dead" 'none of its forks succeeds' "in pid namespace $(pidns "$dead")" 'that is dead' "$@" \
		"sleep (pid $dead): children would be born there" "(pid $$): has it open as descriptor 7" \
		'unshare --pid --fork'
}
mounted() { about "$dead" "$tmp/mount: it is mounted there"; }
about_below_dead() { about "$below" 'none of its forks succeeds' 'below pid namespace' 'which is dead'; }
about_init() {
	about "$init" 'waits for the others in it' 'was killed by SIGKILL' \
		"sleep (pid $member, 2 inside, Z): zombie, not reaped by its parent sleep (pid $parent)" \
		"have sleep (pid $parent) reap pid $member" "This ends sleep (pid $parent): kill $parent"
}
about_holder() { about "$member" "holds up the teardown of pid namespace $held" ": kill $parent"; }
about_blocker() { about "$parent" "keeps pid namespace $held from ending" 'none of its forks succeeds'; }

about_frozen() {
	[ -n "$frozen" ] || return "$KSFT_SKIP"
	# The hierarchy may be mounted elsewhere too: any of its paths will do.
	about "$frozen" 'told to die, and has not ended' 'frozen, in cgroup freezer:/outer/inner' \
		'echo THAWED > /' '/outer/freezer.state' &&
		[[ $said != *inner/freezer.state* ]]
}
about_traced() {
	about "$traced" 'stopped at its exit by its tracer' "(pid $tracer): kill -9 $tracer" &&
		[[ $said != *"try kill"* ]]
}
about_tracer() { about "$tracer" "keeps pid namespace $(stat -Lc %i "/proc/$traced_init/ns/pid") from ending" 'detach'; }
# What was advised helps, and ends nothing else.
advice_helps() {
	local advice
	advice=$(grep -o 'echo THAWED > .*' <<<"$said" | sort -u)
	eval "${advice:-:}"
	eval "$(grep -o "kill -9 $tracer" <<<"$said" | sort -u)"
	wait "$traced_parent" ${frozen:+"$frozen_parent"}
	[ ! -d "/proc/$traced" ] && [ ! -d "/proc/${frozen:-none}" ] && [ -d /proc/$$ ]
}
# Two teardowns that hang in other ways.
more_scenes() {
	frozen='' frozen_parent=''
	frozen_init || frozen=''
	traced_member
	run --explain ${frozen:+"$frozen"} "$traced" "$tracer"
}

absent() {
	run
	says 2 'the module is not loaded'
}

# --- With the module

is_stuck() { grep -q '"state":"stuck"' "$LEDGER"; }
stuck() {
	kill -STOP "$parent"
	until_true sleeps_in "$parent" do_signal_stop && until_true is_stuck || return 1
	run --once
	says 1 '1 stuck' "sleep (pid $init) was killed by SIGKILL" "(pid $member, 2 inside, Z)" "kill -CONT $parent"
}
over() {
	kill -KILL "$parent"
	wait "$healthy"
	run --once
	says 0 '0 stuck' '2 finished'
}
# A root that has lost CAP_SYS_ADMIN finds the ledger empty, which is not to say that all is well.
not_root() {
	said=$(setpriv --bounding-set=-sys_admin "$TOP" 2>&1)
	status=$?
	says 2 'only root'
}
# Half of the truth is none: the one that is stuck may be in the other half.
no_memory() {
	mkdir "$tmp/short"
	cp "$tmp"/counters "$tmp"/teardowns.json "$tmp/short"
	echo '{"error":"ENOMEM"}' >>"$tmp/short/teardowns.json"
	run --from "$tmp/short"
	says 2 'ENOMEM' 'try again'
}
no_debugfs() {
	said=$(unshare --mount sh -c "umount -l /sys/kernel/debug && exec '$TOP'" 2>&1)
	status=$?
	says 2 'mount -t debugfs'
}

ktap_print_header
[ -x "$TOP" ] || { ktap_skip_all "no pidns-top at $TOP"; exit "$KSFT_SKIP"; }
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
if loaded; then rmmod pidns_guard || exit "$KSFT_FAIL"; restore=1; fi

ktap_set_plan 31
make_up
check top.view view
check top.json json
check top.no_memory no_memory
check top.terminal terminal

check top.absent absent
dead_namespace
unborn_namespace
held_namespace
unborn_below_dead
touch "$tmp/mount" && mount --bind "/proc/$dead/ns/pid_for_children" "$tmp/mount"
run --explain "$healthy" "$unborn" 4194304 "$dead" "$below"
check top.absent.healthy about_healthy
check top.absent.unborn about_unborn
check top.absent.none about_none
check top.absent.dead about_dead
check top.absent.mounted mounted
check top.absent.below_dead about_below_dead
check top.absent.leaves_no_trace leaves_no_trace
umount "$tmp/mount"
init_dies
run --explain "$init" "$member" "$parent"
check top.absent.init about_init
check top.absent.holder about_holder
check top.absent.blocker about_blocker
kill -KILL "$parent" "$dead" "$unborn" "$below"
wait "$healthy" "$parent" "$dead" "$unborn" "$below"
more_scenes
check top.absent.frozen about_frozen
check top.absent.traced about_traced
check top.absent.tracer about_tracer
check top.absent.advice_helps advice_helps

if [ -n "$KO" ]; then
	insmod "$KO" stall_secs=1
	dead_namespace
	held_namespace
	init_dies
	run --explain "$dead" "$init" "$member" "$parent"
fi
check top.module.dead with_module about_dead 'exited with 0, '
check top.module.init with_module about_init
check top.module.holder with_module about_holder
check top.module.blocker with_module about_blocker
check top.module.stuck with_module stuck
check top.module.not_root with_module not_root
check top.module.no_debugfs with_module no_debugfs
check top.module.over with_module over
[ -z "$KO" ] || more_scenes
check top.module.frozen with_module about_frozen
check top.module.traced with_module about_traced
check top.module.tracer with_module about_tracer
check top.module.advice_helps with_module advice_helps
[ -z "$KO" ] || rmmod pidns_guard

[ -z "${restore:-}" ] || insmod "$KO"
ktap_finished
