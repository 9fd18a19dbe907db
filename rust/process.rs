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
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu, //
    },
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::{
    pidns::{
        PidRef,
        Pidns, //
    },
    thread::Thread, //
};

extern "C" {
    fn pidns_guard_ignore_sigchld();
}

/// What tells a process from all others, before it and after it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ProcessId {
    /// Its PID in the root namespace.
    pub(crate) pid: Pid,
    /// When its leader was started, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) started: u64,
}

/// A process, seen under RCU or before it runs.
///
/// # Invariants
///
/// `leader` is valid for `'a`, and `pid` is its PID.
#[derive(Clone, Copy)]
pub(crate) struct Process<'a> {
    pid: PidRef<'a>,
    leader: *mut bindings::task_struct,
}

impl<'a> Process<'a> {
    /// # Safety
    ///
    /// `leader` must be valid for `'a`, and lead the thread group whose PID `pid` is.
    pub(crate) unsafe fn from_raw(pid: PidRef<'a>, leader: *mut bindings::task_struct) -> Self {
        // INVARIANT: By this function's contract.
        Self { pid, leader }
    }

    /// The process that a new task leads; `None` if it is a thread of another one.
    ///
    /// # Safety
    ///
    /// `task` must point to a task that cannot be released for `'a`, as one that has not been woken
    /// for the first time.
    pub(crate) unsafe fn led_by(task: *mut bindings::task_struct) -> Option<Self> {
        // SAFETY: By this function's contract; `group_leader` and `thread_pid` of a task that has
        // not run do not change (`de_thread()` wants it to run).
        let (leader, pid) = unsafe { ((*task).group_leader, (*task).thread_pid) };

        // SAFETY: A task holds its PID until it is released.
        ptr::eq(leader, task).then(|| unsafe { Self::from_raw(PidRef::from_raw(pid), leader) })
    }

    /// The process that the caller is a thread of.
    pub(crate) fn of(task: &'a CurrentTask) -> Self {
        let leader = task.group_leader().as_ptr();

        // SAFETY: A thread that runs keeps the leader of its group, and with it the PID: neither
        // is released before the last thread is.
        unsafe { Self::from_raw(PidRef::from_raw((*leader).thread_pid), leader) }
    }

    /// The process of that name, if it has not been released.
    pub(crate) fn find(id: ProcessId, rcu: &'a rcu::Guard) -> Option<Self> {
        PidRef::find(id.pid, rcu)?
            .process()
            .filter(|process| process.id() == id)
    }

    /// What tells it from all others.
    pub(crate) fn id(self) -> ProcessId {
        ProcessId {
            pid: self.leader().pid(),
            // SAFETY: By the type's invariant; the field does not change but in `de_thread()`.
            started: unsafe { (*self.leader).start_time },
        }
    }

    /// Its number in `ns`; 0 if it has none there.
    pub(crate) fn nr_in(self, ns: Pidns<'_>) -> Pid {
        self.pid.nr_in(ns)
    }

    /// The PID namespace it lives in: the one deepest down in which it has a PID.
    pub(crate) fn pidns(self) -> Pidns<'a> {
        self.pid.pidns()
    }

    /// The first of its threads.
    pub(crate) fn leader(self) -> Thread<'a> {
        // SAFETY: By the type's invariant.
        unsafe { Thread::from_raw(self.leader) }
    }

    /// Sends SIGKILL to the whole process, whatever it blocks or ignores, and be it the init of a
    /// PID namespace. Returns whether it was not on its way out by itself.
    ///
    /// Takes the process's `siglock` for the length of the delivery. May be called from any
    /// context.
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
        // SAFETY: The PID is valid by the type's invariant.
        let err = unsafe { bindings::kill_pid(self.pid.as_ptr(), SIGKILL, PRIVILEGED) };

        err == 0 && !was_exiting
    }

    /// Whether one of its threads has not yet come to the point in `do_exit()` where there is no
    /// way back.
    pub(crate) fn is_alive(self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { live(self.signal()) > 0 }
    }

    /// Whether all of its threads have been told to exit.
    pub(crate) fn is_exiting(self) -> bool {
        // SAFETY: By the type's invariant. The field is an `unsigned int` that is written under
        // `siglock`.
        let flags = unsafe { Atomic::from_ptr(&raw mut (*self.signal()).flags) };

        flags.load(Relaxed) & bindings::SIGNAL_GROUP_EXIT != 0
    }

    /// How it ends, as `wait()` encodes it, once [`is_exiting()`](Self::is_exiting).
    pub(crate) fn exit_code(self) -> i32 {
        // SAFETY: By the type's invariant. The field is an `int` that is written under `siglock`.
        unsafe { Atomic::from_ptr(&raw mut (*self.signal()).group_exit_code) }.load(Relaxed)
    }

    /// How many pages of memory it had at most, once all of its threads have come to their end.
    pub(crate) fn peak_pages(self) -> usize {
        // SAFETY: By the type's invariant. The field is an `unsigned long` that the last thread
        // writes in `do_exit()`.
        unsafe { Atomic::from_ptr(&raw mut (*self.signal()).maxrss) }.load(Relaxed)
    }

    /// Its threads that have not been released.
    pub(crate) fn threads(self) -> impl Iterator<Item = Thread<'a>> {
        // SAFETY: By the type's invariant.
        let head = unsafe { &raw mut (*self.signal()).thread_head };
        let mut node = head;

        core::iter::from_fn(move || {
            // SAFETY: The list is one that is read under RCU (`__for_each_thread()`): a thread is
            // freed a grace period after it has left the list, and still leads back to it.
            node = unsafe { Atomic::from_ptr(&raw mut (*node).next) }.load(Relaxed);

            // SAFETY: All nodes but the head are the `thread_node` of a task.
            (!ptr::eq(node, head)).then(|| unsafe {
                Thread::from_raw(kernel::container_of!(
                    node,
                    bindings::task_struct,
                    thread_node
                ))
            })
        })
    }

    /// A task keeps its `signal_struct` until it is freed.
    fn signal(self) -> *mut bindings::signal_struct {
        // SAFETY: By the type's invariant.
        unsafe { (*self.leader).signal }
    }
}

/// Lets the children of the caller, who is about to exit, go without a word to it: none of them
/// becomes a zombie any more.
///
/// Takes the caller's `siglock`. May be called from process context.
pub(crate) fn ignore_children(_caller: &CurrentTask) {
    // SAFETY: It is called by a task for itself, with interrupts on.
    unsafe { pidns_guard_ignore_sigchld() };
}

/// How many threads of a thread group are alive.
///
/// # Safety
///
/// `signal` must be valid.
pub(crate) unsafe fn live(signal: *mut bindings::signal_struct) -> i32 {
    // SAFETY: By this function's contract. `live` is an `atomic_t`.
    unsafe { Atomic::from_ptr(&raw mut (*signal).live.counter) }.load(Relaxed)
}
