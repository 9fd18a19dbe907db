// SPDX-License-Identifier: GPL-2.0

//! A view of PID namespaces, and of the PIDs in them.
//!
//! With [`process`](crate::view::process) and [`thread`](crate::view::thread) this is the other edge, beside
//! [`hooks`](crate::hooks): it reads fields of `struct pid_namespace` and `struct pid` that the
//! `kernel` crate has no accessors for. Nothing here takes a lock other than RCU, and nothing
//! allocates.
//!
//! C headers: [`include/linux/pid_namespace.h`](srctree/include/linux/pid_namespace.h) and
//! [`include/linux/pid.h`](srctree/include/linux/pid.h)

use core::ptr;
use kernel::{
    bindings,
    pid_namespace::PidNamespace,
    prelude::*,
    sync::{
        aref::ARef,
        rcu, //
    },
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::{
    params,
    view::{
        cref::{
            read_once,
            CRef, //
        },
        preempt,
        process::Process,
        thread::Thread, //
    }, //
};

/// The PID of the child reaper in its own namespace (`is_child_reaper()`).
pub(crate) const CHILD_REAPER: Pid = 1;

/// How much is done before RCU, and where it had to wait the scheduler, get to breathe: a PID that is
/// looked at counts for one, and a process that is killed for as many as it has threads, for each of
/// them is woken up.
const SLICE: usize = 256;

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
        if params::get().early {
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
        // SAFETY: It is a static of vmlinux (`kernel/pid.c`), and never goes away.
        Pidns::new(unsafe { CRef::new(&raw mut bindings::init_pid_ns) })
    }

    /// The PID namespace that a task in the middle of `do_exit()` is the child reaper of; `None`
    /// for all other tasks, and for the root namespace.
    pub(crate) fn reaped_by(task: &'a CurrentTask) -> Option<Self> {
        let ns = Self::of(task)?;

        (!ns.is_root() && ns.nr_of(task) == CHILD_REAPER).then_some(ns)
    }

    /// The PID namespace that a task lives in, as the kernel itself has it.
    pub(crate) fn of(task: &'a CurrentTask) -> Option<Self> {
        task.active_pid_ns().map(Self)
    }

    /// The number that a task's process has here, as the kernel itself has it; 0 if it has none.
    pub(crate) fn nr_of(self, task: &CurrentTask) -> Pid {
        task.tgid_nr_ns(Some(self.0))
    }

    #[inline]
    pub(crate) fn new(ns: CRef<'a, bindings::pid_namespace>) -> Self {
        // SAFETY: It stays for `'a` by the invariant of `CRef`.
        Self(unsafe { PidNamespace::from_ptr(ns.as_ptr()) })
    }

    /// The same for [`read_once!`].
    #[inline]
    fn cref(self) -> CRef<'a, bindings::pid_namespace> {
        // SAFETY: The pointer is that of a reference that lives for `'a`.
        unsafe { CRef::new(self.0.as_ptr()) }
    }

    /// Whether it is the namespace that the system began with, which is never dead.
    pub(crate) fn is_root(self) -> bool {
        self.level() == 0
    }

    /// Whether it is the same as another one.
    pub(crate) fn is(self, other: Pidns<'_>) -> bool {
        ptr::eq(self.0, other.0)
    }

    /// Whether it is as deep down as it has others above, the topmost of which is the root one.
    pub(crate) fn is_sound(self) -> bool {
        let mut levels = (0..=self.level()).rev();

        self.level() <= bindings::MAX_PID_NS_LEVEL as usize
            && self
                .lineage()
                .all(|ns| levels.next() == Some(ns.level()) && ns.is_root() == ns.is(Self::root()))
    }

    /// The number that `/proc/PID/ns/pid` shows.
    pub(crate) fn inum(self) -> u32 {
        read_once!(self.cref(), ns.inum)
    }

    /// How many namespaces are above this one.
    pub(crate) fn level(self) -> usize {
        read_once!(self.cref(), level) as usize
    }

    /// The namespace this one was made in; `None` for the root namespace.
    fn parent(self) -> Option<Self> {
        if self.is_root() {
            return None;
        }

        let parent = read_once!(self.cref(), parent);
        // SAFETY: All but the root have one, set by `create_pid_namespace()`, and it does not
        // change. A namespace holds a reference to its parent and drops it in
        // `destroy_pid_namespace_work()`, when its own last reference is gone. Both are freed by
        // `call_rcu()` after their last reference: if a reference keeps this one for `'a`, that
        // keeps the parent; and if RCU does, the grace period of the parent, which began later,
        // does not end before RCU is released either.
        Some(Self::new(unsafe { CRef::new(parent) }))
    }

    /// This namespace, the one it was made in, and so on up to the root.
    pub(crate) fn lineage(self) -> impl Iterator<Item = Self> {
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

    /// The namespaces above this one, but for the root one.
    pub(crate) fn above(self) -> impl Iterator<Item = Self> {
        self.lineage().skip(1).take_while(|ns| !ns.is_root())
    }

    /// Its init, as long as that has not come to `zap_pid_ns_processes()`.
    pub(crate) fn init(self, rcu: &'a rcu::Guard) -> Option<Process<'a>> {
        self.find_pid(CHILD_REAPER, rcu)
            .filter(|_| !self.is_zapped())?
            .process(rcu)
    }

    /// Whether this namespace has died, whatever is above it.
    pub(crate) fn is_dead_itself(self) -> bool {
        self.dead().is_some_and(|dead| dead.inum() == self.inum())
    }

    /// How `reboot()` in this namespace wants its init to have ended, if it was called.
    pub(crate) fn reboot_ending(self) -> Option<i32> {
        let code = read_once!(self.cref(), reboot);

        (code != 0).then_some(code)
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
        read_once!(self.cref(), pid_allocated)
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

        let reaper = read_once!(self.cref(), child_reaper);
        if reaper.is_null() {
            return false;
        }

        // SAFETY: It is there until RCU is released. `PIDNS_ADDING` was seen set above, in the same
        // read-side critical section, and init clears it in `zap_pid_ns_processes()`, before it is
        // released; its `task_struct` is freed a grace period after that
        // (`put_task_struct_rcu_user()`). So is that of a thread of init that was the reaper until
        // it died and `find_child_reaper()` replaced it, as before an `exec()` by another one,
        // where `de_thread()` waits for the leader to have died. A grace period that had ended
        // before this section began would have shown the bit cleared, or the pointer replaced.
        let reaper = unsafe { Thread::from_raw(reaper) };
        read_once!(reaper.signal(), live.counter) == 0
    }

    /// Whether it has an init that lives, as the root namespace always has.
    pub(crate) fn is_alive(self) -> bool {
        let rcu = rcu::read_lock();

        !self.is_unborn() && !self.is_dead(Death::OfLastThread, &rcu) && self.allocated() > 0
    }

    /// Whether there is no init yet. (Once it has been released, there is a dangling pointer to it.)
    fn is_unborn(self) -> bool {
        read_once!(self.cref(), child_reaper).is_null()
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
                Some(&tid) if tid != CHILD_REAPER && ns.is_unborn() => return Err(EINVAL),
                None if ns.is_full() => return Err(EAGAIN),
                _ => (),
            }
        }

        Ok(())
    }

    /// The first PID that cannot be had here.
    fn pid_max(self) -> Pid {
        read_once!(self.cref(), pid_max)
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
        let user_ns = read_once!(self.cref(), user_ns);

        // SAFETY: A PID namespace holds a reference to its user namespace from
        // `create_pid_namespace()` to `delayed_free_pidns()`. It may be asked under RCU, as
        // `__ptrace_may_access()` does.
        unsafe { bindings::ns_capable(user_ns, cap as c_int) }
    }

    /// Whether all PIDs are in use that `alloc_pid()` would choose from.
    fn is_full(self) -> bool {
        // As a rule there are far fewer, and no need to look for a gap.
        if (self.allocated() as Pid) < self.pid_max() - bindings::RESERVED_PIDS as Pid {
            return false;
        }

        let mut nr = match read_once!(self.cref(), idr.idr_next) {
            // Once round, the lowest ones are not given out again.
            next if next > bindings::RESERVED_PIDS => bindings::RESERVED_PIDS as Pid,
            _ => CHILD_REAPER,
        };

        // Up to the first gap, which is rarely far.
        while nr < self.pid_max() {
            let rcu = rcu::read_lock();
            match self.find_pid(nr, &rcu) {
                Some(_) => nr += 1,
                None => return false,
            }
        }
        true
    }

    /// Whether a PID is in use here.
    fn is_taken(self, nr: Pid) -> bool {
        self.find_pid(nr, &rcu::read_lock()).is_some()
    }

    /// Calls `visit` for each process that has a PID here, this namespace's init left out: those
    /// of the namespaces below have one too.
    ///
    /// Processes that are forked or reaped meanwhile may be seen or not. `visit` runs under RCU
    /// and without preemption and must not sleep, nor take longer than the threads of that process
    /// need. May be called from any context in which `rcu_read_lock()` may, and takes both in slices
    /// of [`SLICE`].
    ///
    /// Whom `visit` wakes up is not to take its place at once: where a thousand are killed, each
    /// would die in the middle of the walk, and all of them were kept waiting for each other.
    pub(crate) fn for_each_member(self, mut visit: impl FnMut(Process<'_>)) {
        self.walk(preempt::disable, |pid, rcu| {
            let Some(process) = pid.process(rcu) else {
                return 1;
            };

            visit(process);
            process.thread_count()
        });
    }

    /// The same for each PID but that of init, whatever it is in use for; and with preemption.
    /// `visit` returns how much it has done, in looks at a PID.
    pub(crate) fn for_each_pid(
        self,
        visit: impl for<'rcu> FnMut(PidRef<'rcu>, &'rcu rcu::Guard) -> usize,
    ) {
        self.walk(|| (), visit);
    }

    /// Calls `visit` for each PID but that of init, and `hold` for each slice of them.
    fn walk<Held>(
        self,
        hold: impl Fn() -> Held,
        mut visit: impl for<'rcu> FnMut(PidRef<'rcu>, &'rcu rcu::Guard) -> usize,
    ) {
        let mut nr = CHILD_REAPER + 1;

        loop {
            let _held = hold();
            let rcu = rcu::read_lock();
            let mut done = 0;

            while done < SLICE {
                let Some(pid) = self.find_ge_pid(nr, &rcu) else {
                    return;
                };
                nr = pid.nr_in(self) + 1;
                done += visit(pid, &rcu).max(1);
            }
        }
    }

    /// The PID that has a number here.
    pub(crate) fn find_pid<'rcu>(self, nr: Pid, _rcu: &'rcu rcu::Guard) -> Option<PidRef<'rcu>> {
        // SAFETY: The namespace is valid. `find_pid_ns()` wants RCU (`idr_find()`), and so does
        // what it finds: a PID in the IDR is freed a grace period after it has left it
        // (`free_pid()`).
        unsafe { PidRef::from_raw(bindings::find_pid_ns(nr, self.0.as_ptr())) }
    }

    /// The first PID in use here that is not less than `nr`.
    fn find_ge_pid<'rcu>(self, nr: Pid, _rcu: &'rcu rcu::Guard) -> Option<PidRef<'rcu>> {
        // SAFETY: As in `find_pid()`. (A PID that `alloc_pid()` has not yet put in is null there,
        // and `idr_get_next()` goes on to the next.)
        unsafe { PidRef::from_raw(bindings::find_ge_pid(nr, self.0.as_ptr())) }
    }
}

/// A `struct pid` that stays for `'a`: one seen under RCU, or that of a task which holds it.
#[derive(Clone, Copy)]
pub(crate) struct PidRef<'a>(CRef<'a, bindings::pid>);

impl<'a> PidRef<'a> {
    /// # Safety
    ///
    /// `pid` must be null, or not be freed for `'a`.
    pub(crate) unsafe fn from_raw(pid: *mut bindings::pid) -> Option<Self> {
        // SAFETY: By this function's contract.
        (!pid.is_null()).then(|| Self(unsafe { CRef::new(pid) }))
    }

    pub(crate) fn as_ptr(self) -> *mut bindings::pid {
        self.0.as_ptr()
    }

    /// Whether it is that of the init of a PID namespace other than the root one.
    pub(crate) fn is_of_init(self) -> bool {
        let ns = self.pidns();

        !ns.is_root() && self.nr_in(ns) == CHILD_REAPER
    }

    /// The namespace deepest down in which it is one.
    pub(crate) fn pidns(self) -> Pidns<'a> {
        let level = read_once!(self.0, level) as usize;

        // SAFETY: `numbers` has `level + 1` elements, all set before the PID can be found
        // (`alloc_pid()`), and none of it changes. A PID holds a reference to its namespace, and
        // drops it when it is freed (`put_pid()`).
        Pidns::new(unsafe {
            let numbers: *const bindings::upid = (&raw const (*self.as_ptr()).numbers).cast();
            CRef::new((*numbers.add(level)).ns)
        })
    }

    /// The same, to be kept. (One that is there thanks to RCU may have no reference left. This one
    /// has: that of the PID.)
    pub(crate) fn hold_pidns(self) -> Held {
        Held(self.pidns().0.into())
    }

    /// The number it has in `ns`; 0 if it has none.
    pub(crate) fn nr_in(self, ns: Pidns<'_>) -> Pid {
        // SAFETY: Both are there, and `pid_nr_ns()` reads what does not change.
        unsafe { bindings::pid_nr_ns(self.as_ptr(), ns.0.as_ptr()) }
    }

    /// The task that is first among those which use it as `kind`.
    fn task(self, kind: bindings::pid_type, _rcu: &'a rcu::Guard) -> Option<Thread<'a>> {
        // SAFETY: The PID is there, and `pid_task()` wants RCU.
        let task = unsafe { bindings::pid_task(self.as_ptr(), kind) };

        // SAFETY: RCU is held for `'a`, and a task is freed a grace period after `release_task()`
        // has taken it off the list that it was found in.
        (!task.is_null()).then(|| unsafe { Thread::from_raw(task) })
    }

    /// The process whose thread group leader it belongs to.
    pub(crate) fn process(self, rcu: &'a rcu::Guard) -> Option<Process<'a>> {
        let leader = self.task(bindings::pid_type_PIDTYPE_TGID, rcu)?;

        Some(Process::new(self, leader))
    }

    /// A process in the process group that it is the number of, if it is that of no task any more.
    pub(crate) fn group_member(self, rcu: &'a rcu::Guard) -> Option<Process<'a>> {
        let member = self.task(bindings::pid_type_PIDTYPE_PGID, rcu)?;

        if self.task(bindings::pid_type_PIDTYPE_PID, rcu).is_some() {
            return None;
        }
        // All in that list lead their thread groups.
        Process::led_by(member)
    }
}

/// A PID namespace that stays for as long as the value lives.
pub(crate) struct Held(ARef<PidNamespace>);

impl Held {
    pub(crate) fn ns(&self) -> Pidns<'_> {
        Pidns(&self.0)
    }
}
