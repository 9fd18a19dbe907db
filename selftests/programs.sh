#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Real programs that stand on PID namespaces: what they print, with which status
# they end, and that nothing is left when they are done, no process, no mount, no
# cgroup. All of it is to be the same without and with the module.
#
#   programs.sh [PATTERN...]    only the tests with such names, e.g. 'bwrap.*'
#
# A container here is a main process with a daemon beside it, which nothing but
# the end of the namespace takes away.

DIR="$(dirname "$(readlink -f "$0")")"
# shellcheck disable=SC1091 # comes with the kernel source
source "$DIR/ktap_helpers.sh"
export LC_ALL=C

# What must happen has this long to happen, in seconds.
PATIENCE=90
# A shell script in a container: it says that it is there when all of it is.
CONTAINER='sleep 1000 & echo ready; exec sleep 1001'
# Ends with its daemon still there.
ENDS='sleep 1000 & exit 3'
NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups)

# World-readable, as some of the programs run as nobody.
tmp=$(mktemp -d) && chmod 755 "$tmp"
trap 'rm -rf "$tmp"' EXIT
exec {never}<> <(:)
# That says nothing about what was killed: here that is nothing special.
# shellcheck disable=SC2173 # in the children it cannot be
trap : KILL

# wrong WHAT: the test fails.
wrong() {
	printf '# %s\n' "${*//$'\n'/ }"
	failed=1
}

# --- Looking, without a program for each look: they are slow in an emulated guest

# pseudo FILE: a file of /proc, into $text. False when there is none (any more).
pseudo() {
	text=
	{ read -rd '' text <"$1" || [[ -n $text ]]; } 2>/dev/null
}

# The processes that were not there in the beginning, into ${strangers[@]}.
declare -A known
find_strangers() {
	local p f
	strangers=()
	for p in /proc/[1-9]*; do
		p=${p#/proc/}
		[[ -z ${known[$p]:-} ]] || continue
		pseudo "/proc/$p/stat" || continue
		read -ra f <<<"${text##*) }"
		# PF_KTHREAD
		if ((f[6] & 0x200000)); then known[$p]=1; else strangers+=("$p"); fi
	done
}
no_strangers() { find_strangers; ((${#strangers[@]} == 0)); }

# Whether it lives on as if nothing had happened: asleep, not on its way out, no
# SIGKILL pending.
lives_on() {
	local key value
	pseudo "/proc/$1/stack" && [[ $text != *' do_exit+'* ]] || return 1
	pseudo "/proc/$1/status" || return 1
	while read -r key value _; do
		case $key in
		State:) [[ $value == [STt] ]] || return 1 ;;
		SigPnd: | ShdPnd:) ((!(16#$value & 1 << 8))) || return 1 ;;
		esac
	done <<<"$text"
}

# Whether some init waits for ever, as one of its members lives on. The kernel's
# own kill comes before the wait (zap_pid_ns_processes()).
doomed() {
	local init p
	find_strangers
	for init in "${strangers[@]}"; do
		pseudo "/proc/$init/stack"
		[[ $text == *' zap_pid_ns_processes+'* ]] || continue
		for p in "${strangers[@]}"; do
			[[ $p != "$init" && /proc/$p/ns/pid -ef /proc/$init/ns/pid ]] &&
				lives_on "$p" && return
		done
	done
	return 1
}

# wait_for COMMAND...: until it is true. False when that will not be.
wait_for() {
	local end=$((SECONDS + PATIENCE)) turn=0 looks=0
	until "$@"; do
		if ((++turn % 4 == 0)); then
			if doomed; then ((++looks)); else looks=0; fi
			((looks < 4)) || { wrong "an init waits for ever for its members"; return 1; }
		fi
		((SECONDS < end)) || { wrong "waited in vain for: $*"; return 1; }
		read -rt 0.05 -u "$never"
	done
	true
}

# --- Running

# start COMMAND...: in the background; $job is its PID.
declare -A file
start() {
	local out=$tmp/out.$((++started))
	"$@" >"$out" 2>&1 </dev/null &
	job=$!
	file[$job]=$out
}
# says JOB TEXT: whether it, or what it left there, has printed that.
says() { pseudo "${file[$1]}" && [[ $text == *"$2"* ]]; }
ready() { wait_for says "$1" ready; }
ended() { ! kill -0 "$1" 2>/dev/null; }
# Of a process that is not a child of this shell, or is not reaped.
gone() { ! lives "$1"; }
lives() { pseudo "/proc/$1/status" && [[ $text != *$'\nState:\t'[ZX]* ]]; }
# finish JOB: waits for its end: $status and $out are how it ended.
finish() {
	status=none
	if wait_for ended "$1"; then
		wait "$1"
		status=$?
	fi
	out=$(<"${file[$1]}")
}
try() { start "$@" && finish "$job"; }
# expect STATUS PATTERN: how what was tried must have ended, and what it said.
expect() {
	# shellcheck disable=SC2053 # patterns
	[[ $status == $1 && $out == $2 ]] && return
	wrong "line ${BASH_LINENO[0]}: status $status, expected $1; said '$out', expected '$2'"
}
# The first child of a process.
child_of() { pseudo "/proc/$1/task/$1/children" && child=${text%% *}; }
kill_init() { kill -KILL "$init"; }

# --- util-linux

unshare_status() {
	try unshare --pid --fork sh -c 'echo $$; exit 3'
	expect 3 1
}
unshare_mount_proc() {
	try unshare --pid --fork --mount-proc sh -c 'echo /proc/[1-9]*'
	expect 0 /proc/1
}
unshare_left_behind() {
	try unshare --pid --fork sh -c "$ENDS"
	expect 3 ''
}
unshare_kill_child() {
	start unshare --pid --fork --kill-child sh -c "$CONTAINER"
	ready "$job" && kill -KILL "$job"
	finish "$job"
	expect 137 ready
}
unshare_kill_child_term() {
	start unshare --pid --fork --kill-child=TERM \
		sh -c "trap 'echo told; exit' TERM; sleep 1000 & echo ready; wait"
	ready "$job" && kill -KILL "$job"
	finish "$job"
	wait_for says "$job" told
}
unshare_user() {
	try "${NOBODY[@]}" unshare --user --map-root-user --pid --fork --mount-proc \
		sh -c "id -u; echo /proc/[1-9]*; $ENDS"
	expect 3 $'0\n/proc/1'
}
# The namespace is kept by a mount, and stays when all in it are gone.
unshare_file() {
	local container
	: >"$tmp/ns"
	start unshare --pid="$tmp/ns" --fork --mount-proc sh -c "$CONTAINER"
	container=$job
	ready "$container" && child_of "$container"
	try nsenter --pid="$tmp/ns" sh -c 'echo $$; exit 4'
	expect 4 3
	kill -KILL "$child"
	finish "$container"
	for _ in 1 2; do
		try nsenter --pid="$tmp/ns" echo born
		expect 1 '*: fork failed: Cannot allocate memory'
	done
	try umount "$tmp/ns"
	expect 0 ''
}
# What everybody does once: the first child is init, and is gone.
unshare_no_fork() {
	try unshare --pid bash -c '/bin/true; /bin/echo born; exit'
	expect '[1-9]*' '*: fork: Cannot allocate memory'
}

# box: a container, its $init and the $container that is its parent.
box() {
	start unshare --pid --fork --mount-proc sh -c "$CONTAINER"
	container=$job
	ready "$container" && child_of "$container" && init=$child
}
unbox() { kill_init && finish "$container"; }

nsenter_fork() {
	box
	try nsenter --target "$init" --pid sh -c 'echo $$; exit 4'
	expect 4 3
	unbox
}
nsenter_no_fork() {
	box
	try nsenter --target "$init" --pid --no-fork sh -c "sh -c 'echo \$\$'; exit 4"
	expect 4 3
	unbox
}
nsenter_all() {
	box
	try nsenter --target "$init" --all sh -c 'echo /proc/[1-9]*; exit 4'
	expect 4 '/proc/1 /proc/2 /proc/3'
	unbox
}
nsenter_killed() {
	box
	start nsenter --target "$init" --all sh -c 'echo ready; exec sleep 1002'
	ready "$job" && kill_init
	finish "$job"
	expect 137 ready
	finish "$container"
}
# Its parent does not reap it: the namespace can still be named, and is dead.
nsenter_zombie() {
	box
	kill -STOP "$container" && kill_init
	wait_for gone "$init"
	try nsenter --target "$init" --pid echo born
	expect 1 '*: fork failed: Cannot allocate memory'
	kill -CONT "$container"
	finish "$container"
}

tools_lsns() {
	box
	try lsns -n -t pid -o PID,NPROCS -p "$init"
	expect 0 "*$init *2"
	unbox
	try lsns -n -t pid -o PID
	[[ $out != *"$init"* ]] || wrong "lsns still sees $init"
}
tools_pgrep() {
	box
	try pgrep -c --ns "$init" --nslist pid sleep
	expect 0 2
	try pkill -KILL --ns "$init" --nslist pid sleep
	expect 0 ''
	finish "$container"
}
tools_pidof() {
	box
	try nsenter --target "$init" --all pidof sleep
	expect 0 '2 1'
	unbox
}

# --- bubblewrap

BWRAP=(bwrap --ro-bind / / --dev /dev --proc /proc)

bwrap_status() {
	try "${BWRAP[@]}" --unshare-pid sh -c 'echo $$; exit 3'
	expect 3 2
}
bwrap_as_pid_1() {
	try "${BWRAP[@]}" --unshare-pid --as-pid-1 sh -c "echo \$\$; $ENDS"
	expect 3 1
}
bwrap_unshare_all() {
	try "${NOBODY[@]}" "${BWRAP[@]}" --unshare-all --as-pid-1 sh -c "id -u; $ENDS"
	expect 3 65534
}
bwrap_die_with_parent() {
	start "${BWRAP[@]}" --unshare-pid --die-with-parent sh -c "$CONTAINER"
	ready "$job" && kill -KILL "$job"
	finish "$job"
	expect 137 ready
}
bwrap_killed() {
	start "${BWRAP[@]}" --unshare-pid sh -c "$CONTAINER"
	ready "$job" && child_of "$job" && kill -KILL "$child"
	finish "$job"
	expect '[1-9]*' ready
}
# Its own init stays for a daemon when the main process has ended.
bwrap_left_behind() {
	local main
	start "${BWRAP[@]}" --unshare-pid sh -c "sleep 1000 & echo ready; read -r _ <$tmp/go; exit 3"
	main=$job
	mkfifo "$tmp/go"
	ready "$main" && child_of "$main" && init=$child && echo >"$tmp/go"
	finish "$main"
	expect 3 ready
	lives "$init" || wrong "the init of bubblewrap is gone"
	kill_init
}

# --- systemd-nspawn, with no systemd: this is the unit that it is to be in

UNIT=/sys/fs/cgroup/programs
NSPAWN=(sh -c "echo \$\$ >$UNIT/cgroup.procs && exec \"\$@\"" sh systemd-nspawn --quiet --register=no
	--keep-unit --console=pipe --directory "$tmp/root")

# unit TEST: it leaves the cgroups below to the manager of the unit.
unit() {
	rootfs "$tmp/root"
	mkdir "$UNIT"
	"$@"
	if ! { wait_for no_strangers && rmdir "$UNIT"/*/ "$UNIT"; }; then wrong "$UNIT is in use"; fi
}
nspawn_status() {
	try "${NSPAWN[@]}" sh -c 'echo $$; exit 3'
	expect 3 1
}
nspawn_as_pid2() {
	try "${NSPAWN[@]}" --as-pid2 sh -c "echo \$\$; $ENDS"
	expect 3 2
}
nspawn_left_behind() {
	try "${NSPAWN[@]}" sh -c "$ENDS"
	expect 3 ''
}
nspawn_private_users() {
	try "${NSPAWN[@]}" --private-users=131072:65536 sh -c "cat /proc/self/uid_map; $ENDS"
	expect 3 '*0*131072*65536'
}
nspawn_killed() {
	start "${NSPAWN[@]}" sh -c "$CONTAINER"
	ready "$job" && child_of "$job" && kill -KILL "$child"
	finish "$job"
	expect '[1-9]*' 'ready*'
}
nspawn_terminated() {
	start "${NSPAWN[@]}" sh -c "$CONTAINER"
	ready "$job" && kill -TERM "$job"
	finish "$job"
	expect '*' 'ready*'
}

# --- OCI runtimes: oci_TEST RUNTIME rootful|rootless

# rootfs DIRECTORY: what fits into a container.
rootfs() {
	local d
	[[ ! -d $1 ]] || return 0
	for d in bin dev etc proc run sys tmp usr var; do mkdir -p "$1/$d"; done
	cp /bin/busybox "$1/bin/busybox"
	for d in cat echo id kill ps readlink sh sleep; do ln -s busybox "$1/bin/$d"; done
	echo ID=test >"$1/etc/os-release"
}

# bundle SCRIPT: of $runtime and $mode; ${oci[@]} is the runtime on it.
bundle() {
	local dir=$tmp/$mode user=''
	runtime=$1 mode=$2 dir=$tmp/$2
	oci=("$runtime" --root "$dir/state")
	if [[ ! -d $dir ]]; then
		rootfs "$dir/rootfs"
		mkdir "$dir/state"
		[[ $mode = rootful ]] || chown -R 65534:65534 "$dir"
	fi
	if [[ $mode = rootless ]]; then
		oci=("${NOBODY[@]}" "${oci[@]}")
		user=', { "type": "user" } ], "uidMappings": [ { "containerID": 0, "hostID": 65534, "size": 1 } ],
			"gidMappings": [ { "containerID": 0, "hostID": 65534, "size": 1 }'
	fi
	cat >"$dir/config.json" <<-END
		{
			"ociVersion": "1.0.2",
			"root": { "path": "rootfs" },
			"process": {
				"user": { "uid": 0, "gid": 0 },
				"cwd": "/",
				"env": [ "PATH=/bin" ],
				"args": [ "sh", "-c", "$3" ]
			},
			"mounts": [ { "destination": "/proc", "type": "proc", "source": "proc" },
				{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs" } ],
			"linux": { "namespaces": [ { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
				{ "type": "uts" } $user ] }
		}
	END
}
run_container() {
	bundle "$@" "$CONTAINER"
	start "${oci[@]}" run --bundle "$tmp/$mode" box
	container=$job
	ready "$container"
}

oci_run() {
	# shellcheck disable=SC2016 # in the container
	bundle "$@" 'echo $$; exit 3'
	try "${oci[@]}" run --bundle "$tmp/$mode" box
	expect 3 1
}
oci_left_behind() {
	bundle "$@" "$ENDS"
	try "${oci[@]}" run --bundle "$tmp/$mode" box
	expect 3 ''
	try "${oci[@]}" list -q
	expect 0 ''
}
oci_lifecycle() {
	bundle "$@" "$CONTAINER"
	try "${oci[@]}" create --bundle "$tmp/$mode" box
	expect 0 ''
	container=$job
	try "${oci[@]}" state box
	expect 0 '*"status": "created"*'
	[[ $out =~ \"pid\":\ ([0-9]+) ]] && init=${BASH_REMATCH[1]}
	try "${oci[@]}" start box
	expect 0 ''
	ready "$container"
	try "${oci[@]}" exec box sh -c 'cat /proc/1/comm; exit 5'
	expect 5 sleep
	try "${oci[@]}" kill box KILL
	expect 0 ''
	wait_for gone "$init"
	try "${oci[@]}" list
	expect 0 '*box *stopped*'
	try "${oci[@]}" exec box echo born
	expect '[1-9]*' '*'
	try "${oci[@]}" delete box
	expect 0 ''
	try "${oci[@]}" list -q
	expect 0 ''
}
oci_exec_killed() {
	run_container "$@"
	local exec
	start "${oci[@]}" exec box sh -c 'echo ready; exec sleep 1002'
	exec=$job
	ready "$exec"
	try "${oci[@]}" kill box KILL
	expect 0 ''
	finish "$exec"
	expect 137 ready
	finish "$container"
	expect 137 ready
}
# Those that wait for the container clean up too, so that one may find it done.
delete_force() {
	try "${oci[@]}" delete --force box
	[[ $out == *'No such file or directory'* ]] || expect 0 ''
}
oci_delete_force() {
	run_container "$@"
	delete_force
	finish "$container"
	expect 137 ready
}
oci_paused() {
	run_container "$@"
	try "${oci[@]}" pause box
	expect 0 ''
	delete_force
	finish "$container"
	expect 137 ready
}

# --- Programs made to be init: init_TEST PROGRAM

under() { init_of=(unshare --pid --fork --mount-proc "$1" --); }

init_status() {
	under "$1"
	try "${init_of[@]}" sh -c 'echo $$; exit 3'
	expect 3 2
}
init_forwards() {
	under "$1"
	start "${init_of[@]}" sh -c 'trap "exit 4" TERM; sleep 1000 & echo ready; wait'
	ready "$job" && child_of "$job" && kill -TERM "$child"
	finish "$job"
	expect 4 ready
}
init_reaps() {
	under "$1"
	# shellcheck disable=SC2016 # in the container
	# Without a fork in the loop, which would be one of those it counts.
	try "${init_of[@]}" sh -c 'for i in 1 2 3; do sh -c "true &"; done
		while set -- /proc/[1-9]*; [ $# -gt 2 ]; do :; done
		echo $*'
	expect 0 '/proc/1 /proc/2'
}
# A daemon that has left the group and the session of the main process.
init_left_behind() {
	under "$1"
	try "${init_of[@]}" sh -c '(setsid sh -c "echo; exec sleep 1000 >/dev/null 2>&1" &) | read -r _; exit 3'
	expect 3 ''
}
init_killed() {
	under "$1"
	start "${init_of[@]}" sh -c "$CONTAINER"
	ready "$job" && child_of "$job" && kill -KILL "$child"
	finish "$job"
	expect '[1-9]*' 'ready*'
}

# --- All of it

tests=()
table() {
	local program=$1 name
	shift
	for name; do tests+=("$program.$name"); done
}
table unshare status mount_proc left_behind kill_child kill_child_term user file no_fork
table nsenter fork no_fork all killed zombie
table tools lsns pgrep pidof
table bwrap status as_pid_1 unshare_all die_with_parent killed left_behind
table nspawn status as_pid2 left_behind private_users killed terminated
for runtime in crun runc; do
	table "oci.$runtime.rootful" run left_behind lifecycle exec_killed delete_force paused
	table "oci.$runtime.rootless" run left_behind lifecycle exec_killed delete_force
done
for program in tini dumb-init; do
	table "init.$program" status forwards reaps left_behind killed
done

# What a test must not leave behind, and the next one must not meet.
mounts_now() { mapfile -t mounts </proc/self/mountinfo; }
cgroups_now() { cgroups=(/sys/fs/cgroup/*/); }
nothing_left() {
	local p
	if ! wait_for no_strangers; then
		for p in "${strangers[@]}"; do
			pseudo "/proc/$p/stat" && wrong "left: $text"
		done
		until no_strangers; do
			kill -KILL "${strangers[@]}" 2>/dev/null
			read -rt 0.05 -u "$never"
		done
	fi
	mounts_now
	[[ ${mounts[*]} == "$mounts_before" ]] || wrong "left: mounts: ${mounts[*]: -2}"
	cgroups_now
	[[ ${cgroups[*]} == "$cgroups_before" ]] || wrong "left: cgroups: ${cgroups[*]}"
}

# perform NAME: 0 if all was as expected.
perform() {
	local word
	failed=
	IFS=. read -ra word <<<"$1"
	case $1 in
	oci.*) "oci_${word[3]}" "${word[1]}" "${word[2]}" ;;
	init.*) "init_${word[2]}" "${word[1]}" ;;
	nspawn.*) unit "nspawn_${word[1]}" ;;
	*) "${word[0]}_${word[1]}" ;;
	esac
	nothing_left
	[[ -z $failed ]]
}

# What a test needs besides util-linux and procps.
needed() {
	case $1 in
	bwrap.*) echo bwrap ;;
	nspawn.*) echo systemd-nspawn ;;
	oci.* | init.*) cut -d. -f2 <<<"$1" ;;
	esac
}

# A kernel without guard and kill, and no module either.
bare=
[[ ${PIDNS_GUARD_KERNEL:-}-${PIDNS_GUARD_MODULE:-} != bare-0 ]] || bare=1

chosen=()
for name in "${tests[@]}"; do
	(($#)) || chosen+=("$name")
	for pattern; do
		# shellcheck disable=SC2053 # a pattern
		[[ $name != $pattern ]] || chosen+=("$name")
	done
done

ktap_print_header
ktap_set_plan "${#chosen[@]}"
find_strangers
for pid in "${strangers[@]}"; do known[$pid]=1; done
mounts_now && mounts_before=${mounts[*]}
cgroups_now && cgroups_before=${cgroups[*]}
for name in "${chosen[@]}"; do
	program=$(needed "$name")
	if [[ -n $program ]] && ! command -v "$program" >/dev/null; then
		ktap_test_skip "$name # no $program"
	elif [[ $bare && $name = @(oci|nspawn|init).* ]]; then
		ktap_test_skip "$name # what others could not end here is in its way"
	elif perform "$name"; then
		ktap_test_pass "$name"
	else
		ktap_test_fail "$name"
	fi
done
ktap_finished
