// SPDX-License-Identifier: GPL-2.0

//! The self-test: before they act on anybody, the hooks are tried on two processes of the module's own.
//!
//! That a kernel has a function or a tracepoint of some name does not say that it does there what
//! the module goes by. What can be seen of that at build is in `rust/shim/helpers.c`. The rest is seen
//! here, with all hooks in place: one process is refused its PID, the other one is killed by a walk
//! through all PIDs, and at each hook what is passed and what can be read is compared with what is
//! known of it. Where anything is different, nothing has been done yet, and the module does not load.
//!
//! They live in the root namespace, for there is no other to be had ([`umh`]). So not tried is
//! whether a namespace is dead; but what that is read from is, on one that lives and a process that
//! dies. And not tried is what explains or saves time only: the return of `zap_pid_ns_processes()`,
//! `sched_process_free` and `dup_mmap()`.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    },
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::{
    explain::text::Ending,
    hooks::umh::{
        self,
        Life,
        Parent, //
    },
    params::{
        self,
        Params, //
    },
    view::{
        pid_namespace::Pidns,
        process::{
            Process,
            ProcessId, //
        },
        thread::Thread, //
    }, //
};

/// Whether it is over, and the hooks act.
static PASSED: Atomic<bool> = Atomic::new(false);

/// What has been seen of the process that is tried on.
static SEEN: Seen = Seen::new();

/// What the fork that is refused here gets, and no other: none ever asks for a block device.
const REFUSAL: Error = ENOTBLK;

/// Whether the hooks may act.
///
/// Who finds that they may not leaves what should be done to adoption, which comes after.
#[inline]
pub(crate) fn passed() -> bool {
    PASSED.load(Relaxed)
}

/// Tries the hooks, which are in place, and from then on lets them act. Sleeps.
///
/// # Errors
///
/// `ENODEV` if the kernel does not do what is expected of it; `ENOMEM`; `EAGAIN` if no process can
/// be started.
pub(crate) fn run() -> Result {
    let &Params {
        guard, kill, early, ..
    } = params::get();

    look_around()?;
    if guard {
        refuse_one()?;
    }
    kill_one(kill, !early)?;

    PASSED.store(true, Release);
    Ok(())
}

/// The root namespace and the caller, as they are read here, are what the kernel says they are.
fn look_around() -> Result {
    if !Pidns::root().is_sound() || !Pidns::root().is_alive() {
        return Err(Expected::Root.fails());
    }
    if !agrees(current!()) {
        return Err(Expected::Numbers.fails());
    }
    Ok(())
}

/// Whether a task has the numbers that the kernel says, in the namespaces that it says.
fn agrees(task: &CurrentTask) -> bool {
    let (Some(process), Some(ns)) = (Process::of(task), Pidns::of(task)) else {
        return false;
    };

    ns.is_sound()
        && ns.is(process.pidns())
        && process.id().pid == Pidns::root().nr_of(task)
        && ns
            .lineage()
            .all(|ns| process.nr_in(ns) > 0 && process.nr_in(ns) == ns.nr_of(task))
}

/// One is refused its PID, and is not born.
fn refuse_one() -> Result {
    match try_one(true, false)? {
        Err(REFUSAL) if SEEN.refused.get() => Ok(()),
        // It has not come that far.
        Err(err) if !SEEN.asked.get() => Err(cannot_start(err)),
        _ if !SEEN.asked.get() => Err(Expected::Asked.fails()),
        _ => Err(Expected::Refused.fails()),
    }
}

/// One is born and dies, with `kill` of SIGKILL.
fn kill_one(kill: bool, late: bool) -> Result {
    let ending = try_one(false, kill)?.map_err(cannot_start)?;

    if kill && !SEEN.forked.get() {
        return Err(Expected::Forked.fails());
    }
    if !SEEN.lived.get() {
        return Err(cannot_start(EAGAIN));
    }
    if !SEEN.exited.get() {
        return Err(Expected::Exited.fails());
    }
    if kill && ending.signal().is_none() {
        return Err(Expected::Died.fails());
    }
    if kill && late && !SEEN.waited.get() {
        return Err(Expected::Waited.fails());
    }
    Ok(())
}

/// Starts one, and waits for it to be gone. Returns how it ended, or why it did not begin; or
/// `ENODEV` if something was seen that was not expected.
fn try_one(refuse: bool, kill: bool) -> Result<Result<Ending>> {
    SEEN.prepare(refuse, kill);
    let ended = umh::run::<TestProcess>(|parent| SEEN.parent.store(parent.get(), Relaxed));

    match Expected::at(SEEN.failed.load(Relaxed)) {
        Some(expected) => Err(expected.fails()),
        None => Ok(ended.map(|code| Ending::new(code, false))),
    }
}

/// Says that there is no process to try anything on, unless it is for lack of memory.
fn cannot_start(err: Error) -> Error {
    if err == ENOMEM {
        return err;
    }

    pr_err!(
        "cannot start a process for the self-test: {:?}: not loaded\n",
        err
    );
    EAGAIN
}

/// Somebody asks for a PID. Returns whether it is refused.
pub(crate) fn asked(ns: Pidns<'_>) -> bool {
    if !SEEN.is_of_caller() {
        return false;
    }

    SEEN.asked.set();
    SEEN.expect(ns.is(Pidns::root()), Expected::Asking);
    SEEN.refuses.get()
}

/// Somebody is refused a PID. Returns with what.
pub(crate) fn refused(ns: Pidns<'_>, set_tid: &[Pid]) -> Error {
    SEEN.expect(ns.is(Pidns::root()) && set_tid.is_empty(), Expected::Asking);
    SEEN.refused.set();
    REFUSAL
}

/// Somebody has forked.
pub(crate) fn forked(child: Option<Process<'_>>) {
    if !SEEN.is_of_caller() {
        return;
    }

    SEEN.forked.set();
    let Some(child) = child else {
        SEEN.expect(false, Expected::Child);
        return;
    };
    SEEN.know(child.id());
    {
        let rcu = rcu::read_lock();
        let parent = child.leader().parent(&rcu);

        SEEN.expect(
            child.pidns().is(Pidns::root()) && parent.pid() == current!().pid(),
            Expected::Child,
        );
        SEEN.expect(
            Process::find(child.id(), &rcu).is_some(),
            Expected::Attached,
        );
    }
    // (It cannot be killed here: SIGKILL too it ignores, as kernel threads do, until it runs.)
    SEEN.expect(child.leader().is_new(), Expected::Unwoken);
}

/// The life of the one that is born.
struct TestProcess;

impl Life for TestProcess {
    fn live(me: &CurrentTask) {
        let Some(process) = Process::of(me).filter(|_| agrees(me)) else {
            SEEN.lived.set();
            SEEN.expect(false, Expected::Numbers);
            return;
        };

        SEEN.expect(
            !SEEN.forked.get() || SEEN.knows(process.id()),
            Expected::Child,
        );
        SEEN.know(process.id());
        SEEN.lived.set();
        SEEN.expect(process.is_alive(), Expected::Live);

        let mut met = false;
        Pidns::root().for_each_member(|member| {
            if member.id() == process.id() {
                met = true;
                if SEEN.kills.get() {
                    member.kill();
                }
            }
        });
        SEEN.expect(met, Expected::Met);
        SEEN.expect(
            !SEEN.kills.get() || process.is_exiting() && me.signal_pending(),
            Expected::Killed,
        );
    }

    fn forget_parent() {
        SEEN.parent.store(0, Relaxed);
    }
}

/// The last thread of somebody is gone.
pub(crate) fn exited(task: &CurrentTask) {
    let Some(process) = Process::of(task).filter(|process| SEEN.knows(process.id())) else {
        return;
    };
    let ending = Ending::new(process.exit_code(), false);

    SEEN.exited.set();
    SEEN.expect(!process.is_alive(), Expected::Live);
    SEEN.expect(
        process.is_exiting() && (!SEEN.kills.get() || ending.signal().is_some()),
        Expected::Ending,
    );
    SEEN.expect(Thread::of(task).has_files(), Expected::Early);
}

/// Somebody waits for a child.
pub(crate) fn waited() {
    if SEEN.is_of_caller() {
        SEEN.waited.set();
    }
}

/// What has been seen of one process. Whoever looks at it afterwards has waited for its end.
struct Seen {
    /// Who forks it; 0 if there is nobody.
    parent: Atomic<usize>,
    /// Which process it is, once it is known.
    pid: Atomic<Pid>,
    started: Atomic<u64>,
    /// What is to be done to it.
    refuses: Flag,
    kills: Flag,
    /// How far it has come.
    asked: Flag,
    refused: Flag,
    forked: Flag,
    lived: Flag,
    exited: Flag,
    waited: Flag,
    /// The first thing that was not as expected, see [`Expected::at()`].
    failed: Atomic<u32>,
}

impl Seen {
    const fn new() -> Self {
        Self {
            parent: Atomic::new(0),
            pid: Atomic::new(0),
            started: Atomic::new(0),
            refuses: Flag::new(),
            kills: Flag::new(),
            asked: Flag::new(),
            refused: Flag::new(),
            forked: Flag::new(),
            lived: Flag::new(),
            exited: Flag::new(),
            waited: Flag::new(),
            failed: Atomic::new(0),
        }
    }

    fn prepare(&self, refuse: bool, kill: bool) {
        self.know(ProcessId { pid: 0, started: 0 });
        self.refuses.put(refuse);
        self.kills.put(kill);
        for flag in [
            &self.asked,
            &self.refused,
            &self.forked,
            &self.lived,
            &self.exited,
            &self.waited,
        ] {
            flag.put(false);
        }
    }

    /// Whether the caller is the one who forks it.
    fn is_of_caller(&self) -> bool {
        Parent::current().is_some_and(|parent| parent.get() == self.parent.load(Relaxed))
    }

    fn know(&self, id: ProcessId) {
        self.pid.store(id.pid, Relaxed);
        self.started.store(id.started, Relaxed);
    }

    fn knows(&self, id: ProcessId) -> bool {
        id.pid == self.pid.load(Relaxed) && id.started == self.started.load(Relaxed)
    }

    fn expect(&self, is_so: bool, expected: Expected) {
        if !is_so && self.failed.load(Relaxed) == 0 {
            self.failed.store(expected as u32 + 1, Relaxed);
        }
    }
}

/// What is so or is not.
struct Flag(Atomic<bool>);

impl Flag {
    const fn new() -> Self {
        Self(Atomic::new(false))
    }

    fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn put(&self, value: bool) {
        self.0.store(value, Relaxed);
    }

    fn set(&self) {
        self.put(true);
    }
}

macro_rules! expectations {
    ($($name:ident: $expected:literal, $came:literal;)*) => {
        /// What is expected of the kernel.
        #[derive(Clone, Copy)]
        enum Expected {
            $($name),*
        }

        impl Expected {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// In words, and what it is if it is not so.
            fn words(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($expected, $came)),*
                }
            }
        }
    };
}

expectations! {
    Root:
        "the first pid namespace to be alive, at level 0", "that is not what it looks like";
    Numbers:
        "a process to have its number in each of its pid namespaces", "the kernel says otherwise";
    Asked:
        "a fork to call alloc_pid()", "it did not";
    Asking:
        "alloc_pid() to be called with the namespace of the child, and no wish for a PID",
        "it was called with something else";
    Refused:
        "a fork to fail with what alloc_pid() returns", "it did not";
    Forked:
        "a fork to fire sched_process_fork", "it did not";
    Child:
        "sched_process_fork to pass the new process, which has its PID", "it passed something else";
    Attached:
        "a child to be found by its PID when sched_process_fork fires", "it was not";
    Unwoken:
        "a child not to be woken before sched_process_fork has fired", "it was";
    Killed:
        "SIGKILL to reach a process", "it did not";
    Met:
        "a walk through all PIDs to meet a process", "it did not";
    Exited:
        "a process to fire sched_process_exit when it dies", "it did not";
    Live:
        "signal->live to be 0 when sched_process_exit fires, and not before", "it was not so";
    Ending:
        "a process to be exiting, and how, when sched_process_exit fires", "it was not so";
    Early:
        "a process to have its files when sched_process_exit fires", "it had none";
    Died:
        "a process to die of SIGKILL", "it did not";
    Waited:
        "who waits for a child to fire sched_process_wait", "it did not";
}

impl Expected {
    fn at(failed: u32) -> Option<Self> {
        Self::ALL.get((failed as usize).checked_sub(1)?).copied()
    }

    /// Says that it is not so.
    fn fails(self) -> Error {
        let (expected, came) = self.words();

        pr_err!("self-test failed: expected {expected}, but {came}: this kernel is not supported: not loaded\n");
        ENODEV
    }
}
