// SPDX-License-Identifier: GPL-2.0

//! A view of processes, which are thread groups.
//!
//! It reads fields of `struct task_struct` and `struct signal_struct` under RCU. Nothing here
//! takes a lock other than that, but for the delivery of a signal, and nothing allocates.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h) and
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use core::ptr;
use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::view::{
    cref::{
        read_once,
        CRef, //
    },
    pid_namespace::{
        Held,
        PidRef,
        Pidns, //
        CHILD_REAPER,
    },
    thread::Thread, //
};

unsafe extern "C" {
    // It changes what the caller's process does at a signal, under its `siglock`.
    safe fn pidns_guard_ignore_sigchld();
}

/// What tells a process from all others, before it and after it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ProcessId {
    /// Its PID in the root namespace.
    pub(crate) pid: Pid,
    /// When its leader was started, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) started: u64,
}

/// A process, known by the leader of its thread group and by its PID: seen under RCU, before it
/// runs, or by itself.
///
/// In the moment of a `de_thread()` the leader may be the one that is giving way.
#[derive(Clone, Copy)]
pub(crate) struct Process<'a> {
    pid: PidRef<'a>,
    leader: Thread<'a>,
}

impl<'a> Process<'a> {
    pub(crate) fn new(pid: PidRef<'a>, leader: Thread<'a>) -> Self {
        Self { pid, leader }
    }

    /// The process that a task leads; `None` if it is a thread of another one, or has been reaped.
    pub(crate) fn led_by(task: Thread<'a>) -> Option<Self> {
        let pid = task.is_leader().then(|| task.pid_ref())??;

        Some(Self::new(pid, task))
    }

    /// The process that the caller is a thread of.
    pub(crate) fn of(task: &'a CurrentTask) -> Option<Self> {
        // SAFETY: Neither freed nor released as long as one of its threads has not been released,
        // as the caller has not, see `Thread::of()`: a leader is not reaped before the last of the
        // others is (`delay_group_leader()`, and `thread_group_empty()` in `exit_notify()`), and
        // gives way to another one when all but that are gone (`de_thread()`).
        Self::led_by(unsafe { Thread::from_raw(task.group_leader().as_ptr()) })
    }

    /// The process of that name, if it has not been released.
    pub(crate) fn find(id: ProcessId, rcu: &'a rcu::Guard) -> Option<Self> {
        Pidns::root()
            .find_pid(id.pid, rcu)?
            .process(rcu)
            .filter(|process| process.id() == id)
    }

    /// What tells it from all others.
    pub(crate) fn id(self) -> ProcessId {
        ProcessId {
            pid: self.leader().pid(),
            started: self.leader().started(),
        }
    }

    /// Its number in `ns`; 0 if it has none there.
    pub(crate) fn nr_in(self, ns: Pidns<'_>) -> Pid {
        self.pid.nr_in(ns)
    }

    /// The PID namespace that it is the init of, the root one among them.
    pub(crate) fn init_of(self) -> Option<Pidns<'a>> {
        let ns = self.pidns();

        (self.nr_in(ns) == CHILD_REAPER).then_some(ns)
    }

    /// The PID namespace it lives in: the one deepest down in which it has a PID.
    pub(crate) fn pidns(self) -> Pidns<'a> {
        self.pid.pidns()
    }

    /// The same, to be kept.
    pub(crate) fn hold_pidns(self) -> Held {
        self.pid.hold_pidns()
    }

    /// The first of its threads.
    pub(crate) fn leader(self) -> Thread<'a> {
        self.leader
    }

    /// Sends SIGKILL to the whole process, whatever it blocks or ignores, and be it the init of a
    /// PID namespace. Returns whether it was not on its way out by itself.
    ///
    /// Takes the process's `siglock` for the length of the delivery. May be called from any
    /// context in which a spin lock may be taken with interrupts off.
    pub(crate) fn kill(self) -> bool {
        const SIGKILL: c_int = bindings::SIGKILL as c_int;
        const PRIVILEGED: c_int = 1;

        if !self.is_alive() {
            return false;
        }

        let was_exiting = self.is_exiting();

        // The signal is sent all the same: a process that dumps core is exiting too, and may be at
        // it for ever. `prepare_signal()` drops the signal where it is of no use.
        //
        // SAFETY: The PID is there. `kill_pid_info_type()` takes RCU, and as many tries as it needs
        // to meet the leader that `de_thread()` has put in the place of another.
        let err = unsafe { bindings::kill_pid(self.pid.as_ptr(), SIGKILL, PRIVILEGED) };

        err == 0 && !was_exiting
    }

    /// Whether one of its threads has not yet come to the point in `do_exit()` where there is no
    /// way back.
    pub(crate) fn is_alive(self) -> bool {
        read_once!(self.leader.signal(), live.counter) > 0
    }

    /// Whether all of its threads have been told to exit.
    pub(crate) fn is_exiting(self) -> bool {
        read_once!(self.leader.signal(), flags) & bindings::SIGNAL_GROUP_EXIT != 0
    }

    /// How it ends, as `wait()` encodes it, once [`is_exiting()`](Self::is_exiting).
    pub(crate) fn exit_code(self) -> i32 {
        read_once!(self.leader.signal(), group_exit_code)
    }

    /// How many threads it has that have not been released.
    pub(crate) fn thread_count(self) -> usize {
        read_once!(self.leader.signal(), nr_threads) as usize
    }

    /// The number of the process whose child it is, in the root namespace.
    pub(crate) fn parent_pid(self) -> Pid {
        self.leader.parent(&rcu::read_lock()).tgid()
    }

    /// Whether one of its threads has not come to give up its memory, in `exit_mm()`.
    pub(crate) fn has_memory(self, rcu: &'a rcu::Guard) -> bool {
        self.threads(rcu).any(Thread::has_memory)
    }

    /// How many pages of memory it had at most, once all of its threads have come to their end.
    pub(crate) fn peak_pages(self) -> usize {
        read_once!(self.leader.signal(), maxrss)
    }

    /// Its threads that have not been released.
    pub(crate) fn threads(self, _rcu: &'a rcu::Guard) -> impl Iterator<Item = Thread<'a>> {
        // SAFETY: The head of the list is a field of its `signal_struct`.
        let head = unsafe { &raw mut (*self.leader.signal().as_ptr()).thread_head };
        let mut node = head;

        core::iter::from_fn(move || {
            // SAFETY: RCU is held for `'a`, under which this list may be walked
            // (`__for_each_thread()`): a thread that has left it still leads on to one that was
            // there then (`list_del_rcu()`), or to the head, and is freed a grace period later.
            let here = unsafe { CRef::new(node) };
            node = read_once!(here, next);

            // SAFETY: All nodes but the head are the `thread_node` of a task, for which the same
            // goes.
            (!ptr::eq(node, head)).then(|| unsafe {
                Thread::from_raw(kernel::container_of!(
                    node,
                    bindings::task_struct,
                    thread_node
                ))
            })
        })
    }
}

/// Makes the caller's process, whose last thread is in `do_exit()`, ignore SIGCHLD, so that none of
/// its children becomes a zombie any more.
///
/// Does nothing if another process has the same handlers (`CLONE_SIGHAND`), which would ignore
/// SIGCHLD as well. The children are then reaped one by one.
///
/// Takes the caller's `siglock`. May be called from process context.
pub(crate) fn ignore_children(_caller: &CurrentTask) {
    pidns_guard_ignore_sigchld();
}
