// SPDX-License-Identifier: GPL-2.0

//! A view of PID namespaces, and of the PIDs in them.
//!
//! With [`process`](crate::process) and [`thread`](crate::thread) this is the other edge, beside
//! [`hooks`](crate::hooks): it reads fields of `struct pid_namespace` and `struct pid` that the
//! `kernel` crate has no accessors for. Nothing here takes a lock other than RCU, and nothing
//! allocates.
//!
//! C headers: [`include/linux/pid_namespace.h`](srctree/include/linux/pid_namespace.h) and
//! [`include/linux/pid.h`](srctree/include/linux/pid.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    pid_namespace::PidNamespace,
    prelude::*,
    sync::{
        aref::ARef,
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
    module_parameters,
    preemption,
    process::{
        self,
        Process, //
    }, //
};

/// The PID of the child reaper in its own namespace (`is_child_reaper()`).
pub(crate) const CHILD_REAPER: Pid = 1;

/// How many PIDs are looked at before RCU, and where it had to wait the scheduler, get to breathe.
const PIDS_PER_SLICE: usize = 256;

/// When a PID namespace counts as dead.
#[derive(Clone, Copy)]
pub(crate) enum Death {
    /// When the last thread of its init has left `signal->live`, in `do_exit()`.
    OfLastThread,
    /// As the kernel has it: when its init has come to `zap_pid_ns_processes()`.
    InZap,
}

impl Death {
    /// What the module has been told to go by.
    #[inline]
    pub(crate) fn configured() -> Self {
        if module_parameters::early.value() {
            Self::OfLastThread
        } else {
            Self::InZap
        }
    }
}

/// A PID namespace that stays for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Pidns<'a>(&'a PidNamespace);

impl<'a> Pidns<'a> {
    /// The root PID namespace.
    pub(crate) fn root() -> Pidns<'static> {
        // SAFETY: `init_pid_ns` is a static of the kernel's own, and never goes away.
        unsafe { Pidns::from_raw(&raw mut bindings::init_pid_ns) }
    }

    /// The PID namespace that a task in the middle of `do_exit()` is the child reaper of; `None`
    /// for all other tasks, and for the root namespace.
    pub(crate) fn reaped_by(task: &'a CurrentTask) -> Option<Self> {
        let ns = Self(task.active_pid_ns()?);

        (!ns.is_root() && task.tgid_nr_ns(Some(ns.0)) == CHILD_REAPER).then_some(ns)
    }

    /// # Safety
    ///
    /// `ns` must point to a PID namespace that stays for `'a`.
    pub(crate) unsafe fn from_raw(ns: *const bindings::pid_namespace) -> Self {
        // SAFETY: By this function's contract.
        Self(unsafe { PidNamespace::from_ptr(ns) })
    }

    /// Whether it is the namespace that the system began with, which is never dead.
    pub(crate) fn is_root(self) -> bool {
        self.level() == 0
    }

    /// The number that `/proc/PID/ns/pid` shows.
    pub(crate) fn inum(self) -> u32 {
        // SAFETY: `inum` is set in `create_pid_namespace()` and does not change.
        unsafe { (*self.0.as_ptr()).ns.inum }
    }

    /// How many namespaces are above this one.
    pub(crate) fn level(self) -> usize {
        // SAFETY: `level` is set in `create_pid_namespace()` and does not change.
        unsafe { (*self.0.as_ptr()).level as usize }
    }

    /// The namespace this one was made in; `None` for the root namespace.
    fn parent(self) -> Option<Self> {
        // SAFETY: `parent` is set in `create_pid_namespace()` and does not change. A namespace
        // holds a reference to its parent, which therefore stays for as long as it does itself.
        (!self.is_root()).then(|| unsafe { Self::from_raw((*self.0.as_ptr()).parent) })
    }

    /// This namespace, the one it was made in, and so on up to the root.
    fn lineage(self) -> impl Iterator<Item = Self> {
        core::iter::successors(Some(self), |ns| ns.parent())
    }

    /// Whether no PID must be allocated here any more: this namespace is dead, or one above it is.
    ///
    /// Derived, never stored, so that there is nothing to fill and nothing to go stale.
    #[inline]
    pub(crate) fn is_doomed(self) -> bool {
        self.dead().is_some()
    }

    /// The dead namespace that dooms this one: itself, or the nearest above it.
    #[inline]
    pub(crate) fn dead(self) -> Option<Self> {
        if self.is_root() {
            return None;
        }

        let death = Death::configured();
        let rcu = rcu::read_lock();
        self.lineage()
            .take_while(|ns| !ns.is_root())
            .find(|ns| ns.is_dead(death, &rcu))
    }

    /// Whether a namespace above this one is dead.
    pub(crate) fn is_below_dead(self) -> bool {
        self.parent().is_some_and(Self::is_doomed)
    }

    /// Whether this namespace has died, whatever is above it.
    pub(crate) fn is_dead_itself(self) -> bool {
        self.dead().is_some_and(|dead| dead.inum() == self.inum())
    }

    /// How `reboot()` in this namespace wants its init to have ended, if it was called.
    pub(crate) fn reboot_ending(self) -> Option<i32> {
        // SAFETY: The namespace is valid. The field is an `int` that is written once.
        let code = unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).reboot) }.load(Relaxed);

        (code != 0).then_some(code)
    }

    /// Keeps the namespace.
    pub(crate) fn hold(self) -> Held {
        Held(self.0.into())
    }

    /// Whether init has come to `zap_pid_ns_processes()`, which clears `PIDNS_ADDING` first.
    pub(crate) fn is_zapped(self) -> bool {
        self.pid_allocated() & bindings::PIDNS_ADDING == 0
    }

    /// How many PIDs are in use here.
    fn allocated(self) -> u32 {
        self.pid_allocated() & !bindings::PIDNS_ADDING
    }

    fn pid_allocated(self) -> u32 {
        // SAFETY: The namespace is valid. The field is an `unsigned int` that is written under
        // `pidmap_lock`.
        unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).pid_allocated) }.load(Relaxed)
    }

    /// Whether this namespace has died, whatever is above it.
    ///
    /// A namespace that has no init yet is not dead.
    fn is_dead(self, death: Death, _rcu: &rcu::Guard) -> bool {
        if self.is_zapped() {
            return true;
        }
        if matches!(death, Death::InZap) {
            return false;
        }

        let reaper = self.child_reaper();
        if reaper.is_null() {
            return false;
        }

        // SAFETY: `PIDNS_ADDING` was seen set above, in the same RCU read-side critical section.
        // `zap_pid_ns_processes()` clears it before init is released, and its `task_struct` is
        // freed a grace period after that (`put_task_struct_rcu_user()`); the same goes for a
        // thread of init that was the reaper until `find_child_reaper()` replaced it. A grace
        // period that had ended before this section began would have shown the bit cleared, or the
        // pointer replaced. A task keeps its `signal_struct` until it is freed.
        unsafe { process::live((*reaper).signal) == 0 }
    }

    /// The child reaper; null as long as there was none, and dangling when it has been released.
    fn child_reaper(self) -> *mut bindings::task_struct {
        // SAFETY: The namespace is valid. The field is a pointer that is written with
        // `WRITE_ONCE()`.
        unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).child_reaper) }.load(Relaxed)
    }

    /// Whether a caller could have a PID here, were the namespace alive, or the PIDs that it asks
    /// `clone3()` for: one for this namespace, one for its parent, and so on for as many as there
    /// are.
    ///
    /// `alloc_pid()` looks at this first, and at the death of the namespace last. May be called
    /// from process context.
    ///
    /// # Errors
    ///
    /// Those of `alloc_pid()`: `EINVAL` if there are too many, if one is no valid PID, or if it is
    /// for the first process of a namespace and not 1; `EPERM` if the caller may not choose;
    /// `EEXIST` if one is taken; `EAGAIN` if there is none left to be given out.
    pub(crate) fn check_request(self, set_tid: &[Pid]) -> Result {
        if set_tid.len() > self.level() + 1 {
            return Err(EINVAL);
        }

        for (ns, &tid) in self.lineage().zip(set_tid) {
            if tid < 1 || tid >= ns.pid_max() {
                return Err(EINVAL);
            }
            if !ns.lets_caller_choose() {
                return Err(EPERM);
            }
        }

        let mut set_tid = set_tid.iter();
        for ns in self.lineage() {
            match set_tid.next() {
                Some(&tid) if ns.is_taken(tid) => return Err(EEXIST),
                Some(&tid) if tid != CHILD_REAPER && ns.child_reaper().is_null() => {
                    return Err(EINVAL)
                }
                None if ns.is_full() => return Err(EAGAIN),
                _ => (),
            }
        }

        Ok(())
    }

    /// The first PID that cannot be had here.
    fn pid_max(self) -> Pid {
        // SAFETY: The namespace is valid. The field is an `int` that is written by sysctl.
        unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).pid_max) }.load(Relaxed)
    }

    /// Whether the caller may choose PIDs here, as `checkpoint_restore_ns_capable()` has it.
    fn lets_caller_choose(self) -> bool {
        self.is_caller_capable(bindings::CAP_CHECKPOINT_RESTORE) || self.lets_caller_administrate()
    }

    /// Whether the caller has `CAP_SYS_ADMIN` here. May be called from process context.
    pub(crate) fn lets_caller_administrate(self) -> bool {
        self.is_caller_capable(bindings::CAP_SYS_ADMIN)
    }

    fn is_caller_capable(self, cap: u32) -> bool {
        // SAFETY: A PID namespace holds a reference to its user namespace from
        // `create_pid_namespace()` on.
        unsafe { bindings::ns_capable((*self.0.as_ptr()).user_ns, cap as c_int) }
    }

    /// Whether all PIDs are in use that `alloc_pid()` would choose from.
    fn is_full(self) -> bool {
        // As a rule there are far fewer, and no need to look for a gap.
        if (self.allocated() as Pid) < self.pid_max() - bindings::RESERVED_PIDS as Pid {
            return false;
        }

        // SAFETY: The namespace is valid. The field is an `unsigned int` that is written under
        // `pidmap_lock`.
        let next = unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).idr.idr_next) };
        let mut nr = match next.load(Relaxed) {
            // Once round, the lowest ones are not given out again.
            next if next > bindings::RESERVED_PIDS => bindings::RESERVED_PIDS as Pid,
            _ => CHILD_REAPER,
        };

        // Up to the first gap, which is rarely far.
        while nr < self.pid_max() {
            let rcu = rcu::read_lock();
            match self.find_ge_pid(nr, &rcu) {
                Some(pid) if pid.nr_in(self) == nr => nr += 1,
                _ => return false,
            }
        }
        true
    }

    /// Whether a PID is in use here.
    fn is_taken(self, nr: Pid) -> bool {
        let _rcu = rcu::read_lock();

        // SAFETY: The namespace is valid, and `find_pid_ns()` wants RCU, which is held.
        !unsafe { bindings::find_pid_ns(nr, self.0.as_ptr()) }.is_null()
    }

    /// Calls `visit` for each process that has a PID here, this namespace's init left out: those
    /// of the namespaces below have one too.
    ///
    /// Processes that are forked or reaped meanwhile may be seen or not. `visit` runs under RCU
    /// and without preemption and must not sleep, nor take long. May be called from any context in
    /// which `rcu_read_lock()` may, and takes both in slices of [`PIDS_PER_SLICE`].
    ///
    /// Whom `visit` wakes up is not to take its place at once: where a thousand are killed, each
    /// would die in the middle of the walk, and all of them were kept waiting for each other.
    pub(crate) fn for_each_member(self, mut visit: impl FnMut(Process<'_>)) {
        self.walk(preemption::disable, |pid| {
            if let Some(process) = pid.process() {
                visit(process);
            }
        });
    }

    /// The same for each PID but that of init, whatever it is in use for; and with preemption.
    pub(crate) fn for_each_pid(self, visit: impl FnMut(PidRef<'_>)) {
        self.walk(|| (), visit);
    }

    /// Calls `visit` for each PID but that of init, and `hold` for each slice of them.
    fn walk<Held>(self, hold: impl Fn() -> Held, mut visit: impl FnMut(PidRef<'_>)) {
        let mut nr = CHILD_REAPER + 1;

        loop {
            let _held = hold();
            let rcu = rcu::read_lock();
            for _ in 0..PIDS_PER_SLICE {
                let Some(pid) = self.find_ge_pid(nr, &rcu) else {
                    return;
                };
                nr = pid.nr_in(self) + 1;
                visit(pid);
            }
        }
    }

    /// The first PID in use here that is not less than `nr`.
    fn find_ge_pid<'rcu>(self, nr: Pid, _rcu: &'rcu rcu::Guard) -> Option<PidRef<'rcu>> {
        // SAFETY: The namespace is valid, and `find_ge_pid()` wants RCU, which is held.
        let pid = unsafe { bindings::find_ge_pid(nr, self.0.as_ptr()) };

        (!pid.is_null()).then_some(PidRef {
            pid,
            _rcu: PhantomData,
        })
    }
}

/// A `struct pid`, seen under RCU.
///
/// # Invariants
///
/// `pid` is valid for `'rcu`.
#[derive(Clone, Copy)]
pub(crate) struct PidRef<'rcu> {
    pid: *mut bindings::pid,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

impl<'rcu> PidRef<'rcu> {
    /// The process that has this PID in the root namespace.
    pub(crate) fn find(nr: Pid, _rcu: &'rcu rcu::Guard) -> Option<Self> {
        // SAFETY: The root namespace is valid for ever, and `find_pid_ns()` wants RCU, which is
        // held.
        let pid = unsafe { bindings::find_pid_ns(nr, &raw mut bindings::init_pid_ns) };

        // INVARIANT: Found under RCU, it is valid until that is released.
        (!pid.is_null()).then_some(Self {
            pid,
            _rcu: PhantomData,
        })
    }

    /// The PID that a task has.
    ///
    /// # Safety
    ///
    /// `pid` must be valid for `'rcu`.
    pub(crate) unsafe fn from_raw(pid: *mut bindings::pid) -> Self {
        // INVARIANT: By this function's contract.
        Self {
            pid,
            _rcu: PhantomData,
        }
    }

    pub(crate) fn as_ptr(self) -> *mut bindings::pid {
        self.pid
    }

    /// The namespace deepest down in which it is one.
    pub(crate) fn pidns(self) -> Pidns<'rcu> {
        // SAFETY: By the type's invariant. `numbers` has `level + 1` elements (`alloc_pid()`), and
        // a PID holds a reference to its namespace until it is freed.
        unsafe {
            let numbers: *const bindings::upid = (&raw const (*self.pid).numbers).cast();
            Pidns::from_raw((*numbers.add((*self.pid).level as usize)).ns)
        }
    }

    /// The number it has in `ns`; 0 if it has none.
    pub(crate) fn nr_in(self, ns: Pidns<'_>) -> Pid {
        // SAFETY: Both are valid.
        unsafe { bindings::pid_nr_ns(self.pid, ns.0.as_ptr()) }
    }

    /// The process whose thread group leader it belongs to.
    pub(crate) fn process(self) -> Option<Process<'rcu>> {
        // SAFETY: The PID is valid, and `pid_task()` wants RCU, which is held for `'rcu`.
        let leader = unsafe { bindings::pid_task(self.pid, bindings::pid_type_PIDTYPE_TGID) };

        // SAFETY: Found under RCU, both are valid until that is released.
        (!leader.is_null()).then(|| unsafe { Process::from_raw(self, leader) })
    }

    /// A process in the process group that it is the number of, if it is that of no task any more.
    pub(crate) fn group_member(self) -> Option<Process<'rcu>> {
        // SAFETY: The PID is valid, and `pid_task()` wants RCU, which is held for `'rcu`.
        let task = |kind| unsafe { bindings::pid_task(self.pid, kind) };

        let member = task(bindings::pid_type_PIDTYPE_PGID);
        if member.is_null() || !task(bindings::pid_type_PIDTYPE_PID).is_null() {
            return None;
        }

        // SAFETY: Found under RCU, it is valid until that is released. It leads its thread group,
        // as all do that are in that list; its own PID is null once it has been reaped, and is
        // freed a grace period after that.
        unsafe {
            let pid = (&raw const (*member).thread_pid).read_volatile();
            (!pid.is_null()).then(|| Process::from_raw(Self::from_raw(pid), member))
        }
    }
}

/// A PID namespace that stays for as long as the value lives.
pub(crate) struct Held(ARef<PidNamespace>);

impl Held {
    pub(crate) fn ns(&self) -> Pidns<'_> {
        Pidns(&self.0)
    }
}
