// SPDX-License-Identifier: GPL-2.0

//! A view of single threads: what they are at, and who has a hold on them.
//!
//! It reads fields of `struct task_struct` under RCU, racing with the thread itself: what is seen
//! was so a moment ago. Nothing here takes a lock other than RCU.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use core::ptr;
use kernel::{
    bindings,
    fmt,
    prelude::*,
    sync::rcu,
    task::{
        CurrentTask,
        Pid, //
    }, //
};

use crate::{
    explain::text::{
        self,
        Comm, //
    },
    view::{
        cref::{
            read_once,
            CRef, //
        }, //
        pid_namespace::{
            PidRef,
            Pidns, //
        },
        process::Process,
    }, //
};

// Depending on the configuration, structures that the pointers lead to are empty in C.
#[allow(improper_ctypes)]
extern "C" {
    fn pidns_guard_freezer_path(
        task: *mut bindings::task_struct,
        path: *mut c_char,
        size: usize,
    ) -> c_int;
    fn pidns_guard_syscall(task: *mut bindings::task_struct) -> c_int;
}

/// A thread, seen under RCU, before it runs, or by itself.
///
/// # Invariants
///
/// RCU is held for `'a`, or the task is not released (`release_task()`) for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Thread<'a>(CRef<'a, bindings::task_struct>);

impl<'a> Thread<'a> {
    /// # Safety
    ///
    /// `task` must point to a task that is not freed for `'a`; and RCU must be held for `'a`, or the
    /// task not be released for `'a`.
    pub(crate) unsafe fn from_raw(task: *mut bindings::task_struct) -> Self {
        // INVARIANT: By this function's contract.
        // SAFETY: As above.
        Self(unsafe { CRef::new(task) })
    }

    /// The thread that calls.
    pub(crate) fn of(task: &'a CurrentTask) -> Self {
        // SAFETY: By the invariant of `CurrentTask`, which is not to be had of one that has been
        // released. That may be by itself, in `exit_notify()`: no hook is called after that.
        unsafe { Self::from_raw(task.as_ptr()) }
    }

    /// What its thread group has in common.
    pub(crate) fn signal(self) -> CRef<'a, bindings::signal_struct> {
        let signal = read_once!(self.0, signal);

        // SAFETY: A task has had one since before it could be found (`copy_signal()`), always the
        // same, and keeps it until it is freed itself (`__put_task_struct()`).
        unsafe { CRef::new(signal) }
    }

    /// Whether it leads its thread group.
    pub(crate) fn is_leader(self) -> bool {
        ptr::eq(read_once!(self.0, group_leader), self.0.as_ptr())
    }

    /// Its PID; `None` if it has been released.
    pub(crate) fn pid_ref(self) -> Option<PidRef<'a>> {
        let pid = read_once!(self.0, thread_pid);

        // SAFETY: It is null when the task has been released (`__unhash_process()`), and the PID is
        // freed a grace period after that (`free_pid()`); `de_thread()` may put another one in its
        // place, of which the same is true.
        unsafe { PidRef::from_raw(pid) }
    }

    /// Its number in the root namespace.
    pub(crate) fn pid(self) -> Pid {
        read_once!(self.0, pid)
    }

    /// The number of its process in the root namespace.
    pub(crate) fn tgid(self) -> Pid {
        read_once!(self.0, tgid)
    }

    /// When it was started, in nanoseconds of `CLOCK_MONOTONIC`; or, in `de_thread()`, the one
    /// whose place it takes.
    pub(crate) fn started(self) -> u64 {
        read_once!(self.0, start_time)
    }

    /// Its name. It may be in the middle of changing it.
    pub(crate) fn comm(self) -> Comm {
        // SAFETY: The task is there, and with it its name. Any byte is as good as any other.
        Comm::new(unsafe {
            (&raw const (*self.0.as_ptr()).comm)
                .cast::<[u8; 16]>()
                .read_volatile()
        })
    }

    fn exit_state(self) -> u32 {
        read_once!(self.0, exit_state) as u32
    }

    fn state(self) -> u32 {
        read_once!(self.0, __state)
    }

    /// Whether it is dead, reaped or not.
    pub(crate) fn is_dead(self) -> bool {
        self.exit_state() != 0
    }

    /// Whether it runs, or would if there were a CPU for it.
    pub(crate) fn is_running(self) -> bool {
        self.state() == bindings::TASK_RUNNING
    }

    /// Whether it has never been woken.
    pub(crate) fn is_new(self) -> bool {
        self.state() == bindings::TASK_NEW
    }

    /// Whether it has files, as all have who have not given them up at their end.
    pub(crate) fn has_files(self) -> bool {
        !read_once!(self.0, files).is_null()
    }

    /// Whether it has memory of user space, as all have who have not given it up at their end.
    pub(crate) fn has_memory(self) -> bool {
        !read_once!(self.0, mm).is_null()
    }

    /// Whether its tracer has stopped it.
    pub(crate) fn is_stopped_by_tracer(self) -> bool {
        self.state() & bindings::__TASK_TRACED != 0
    }

    /// Whether it is in the refrigerator.
    pub(crate) fn is_frozen(self) -> bool {
        self.state() & bindings::TASK_FROZEN != 0
    }

    /// Whether nothing but what it waits for can wake it.
    pub(crate) fn is_uninterruptible(self) -> bool {
        self.state() & (bindings::TASK_UNINTERRUPTIBLE | bindings::TASK_NOLOAD)
            == bindings::TASK_UNINTERRUPTIBLE
    }

    /// The letter that `ps` shows.
    pub(crate) fn letter(self) -> char {
        let (state, exit_state) = (self.state(), self.exit_state());

        match () {
            () if exit_state & bindings::EXIT_ZOMBIE != 0 => 'Z',
            () if exit_state != 0 => 'X',
            () if state & bindings::__TASK_TRACED != 0 => 't',
            () if state & bindings::__TASK_STOPPED != 0 => 'T',
            () if state & bindings::TASK_FROZEN != 0 => 'D',
            () if state & bindings::TASK_NOLOAD != 0 => 'I',
            () if state & bindings::TASK_UNINTERRUPTIBLE != 0 => 'D',
            () if state & bindings::TASK_INTERRUPTIBLE != 0 => 'S',
            () => 'R',
        }
    }

    /// Who traces it.
    pub(crate) fn tracer(self, rcu: &'a rcu::Guard) -> Option<Self> {
        // It is 0 for one who is not traced.
        if read_once!(self.0, ptrace) == 0 {
            return None;
        }

        let tracer = read_once!(self.0, parent);
        // SAFETY: It is the task's `parent`, and RCU is held for `'a`.
        Some(unsafe { Self::relative(tracer, rcu) })
    }

    /// Whose child it is.
    pub(crate) fn parent(self, rcu: &'a rcu::Guard) -> Self {
        let parent = read_once!(self.0, real_parent);

        // SAFETY: It is the task's `real_parent`, and RCU is held for `'a`.
        unsafe { Self::relative(parent, rcu) }
    }

    /// The task that `parent` or `real_parent` leads to.
    ///
    /// # Safety
    ///
    /// `task` must have been read from one of these two fields of a `Thread<'a>`, with RCU held for
    /// `'a`.
    unsafe fn relative(task: *mut bindings::task_struct, _rcu: &'a rcu::Guard) -> Self {
        // SAFETY: All tasks have both. Before a task is released, `forget_original_parent()` and
        // `__ptrace_unlink()` (by `exit_ptrace()`) put another one in its place, under
        // `tasklist_lock`, in all of its children and tracees that have not been released. What is
        // read here is therefore freed a grace period after it was replaced
        // (`put_task_struct_rcu_user()`). A child that was released first keeps the pointer; but by
        // this function's contract RCU is held since before the child was released, and so since
        // before its parent was.
        unsafe { Self::from_raw(task) }
    }

    /// The CPU time it has used, in nanoseconds (`se.sum_exec_runtime`).
    ///
    /// Exact for a thread that is not on a CPU. For one that is, the scheduler adds to it at each
    /// tick, and whenever it looks at its queue: one tick (10 ms at `HZ=100`) is missing at most,
    /// or up to a second on a CPU without ticks (`CONFIG_NO_HZ_FULL`, `sched_tick_remote()`).
    pub(crate) fn cpu_time(self) -> u64 {
        read_once!(self.0, se.sum_exec_runtime)
    }

    /// The number of the system call that it is in, as the thread's own architecture counts them.
    ///
    /// `None` if it is in none (a fault, an interrupt), for kernel threads and the like, for 32-bit
    /// programs, which have other numbers, and once it has no stack any more.
    ///
    /// For a thread that does not return to user space any more, and so for each that exits, it is
    /// the call from which it does not return. A thread that sleeps is in that call too. Of one that
    /// runs it says nothing: it may be in user space, and the number is that of an earlier call; or
    /// be about to enter the kernel, and the number is not written yet.
    pub(crate) fn syscall(self, _rcu: &rcu::Guard) -> Option<c_int> {
        // SAFETY: The task is there. The function copes with a stack that is being freed.
        let number = unsafe { pidns_guard_syscall(self.0.as_ptr()) };

        (number >= 0).then_some(number)
    }

    /// The process that it is a thread of; `None` if that has been reaped.
    pub(crate) fn process(self, rcu: &'a rcu::Guard) -> Option<Process<'a>> {
        Pidns::root().find_pid(self.tgid(), rcu)?.process(rcu)
    }

    /// Whether it is the one that writes the core dump of its process.
    pub(crate) fn dumps_core(self) -> bool {
        read_once!(self.0, flags) & bindings::PF_DUMPCORE != 0
    }

    /// Where it sleeps: the function that has called the scheduler, and those that have called it.
    pub(crate) fn stack(self) -> Stack {
        let mut stack = Stack {
            frames: [0; Stack::DEPTH],
            len: 0,
        };

        // SAFETY: The task is there, and the place for that many frames. The function looks itself
        // whether there is a stack (`try_get_task_stack()`), and bears one that is in use.
        stack.len = unsafe {
            bindings::stack_trace_save_tsk(
                self.0.as_ptr(),
                stack.frames.as_mut_ptr(),
                Stack::DEPTH as c_uint,
                0,
            )
        } as usize;
        stack
    }

    /// Its cgroup in the hierarchy of the freezer, which is one of cgroup v1.
    pub(crate) fn freezer_path(self, _rcu: &rcu::Guard) -> Path {
        let mut path = Path([0; Path::LEN]);

        // SAFETY: The task is there, RCU is held, under which the function says that its cgroup
        // stays, and the path is that long. What does not fit is left out.
        unsafe { pidns_guard_freezer_path(self.0.as_ptr(), path.0.as_mut_ptr().cast(), Path::LEN) };
        path
    }
}

/// The path of a cgroup, or as much of it as there is room for.
pub(crate) struct Path([u8; Path::LEN]);

impl Path {
    const LEN: usize = 96;

    pub(crate) fn as_bytes(&self) -> &[u8] {
        until_nul(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}", text::plain(self.as_bytes())))
    }
}

/// Where a thread sleeps.
pub(crate) struct Stack {
    frames: [c_ulong; Stack::DEPTH],
    len: usize,
}

impl Stack {
    const DEPTH: usize = 12;

    /// The functions, the one that sleeps first.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.frames[..self.len]
            .iter()
            .map(|&frame| Symbol::at(frame))
    }

    /// Whether it sleeps in a function, or in one that this has called.
    pub(crate) fn is_in(&self, function: &[u8]) -> bool {
        self.functions().any(|symbol| symbol.as_bytes() == function)
    }
}

/// The name of a function.
pub(crate) struct Symbol([u8; Symbol::LEN]);

impl Symbol {
    const LEN: usize = 48;

    fn at(address: c_ulong) -> Self {
        let mut name = [0u8; Self::LEN];

        // SAFETY: The buffer is that long; `%ps` wants an address, which need not be valid.
        unsafe {
            bindings::scnprintf(
                name.as_mut_ptr().cast(),
                Self::LEN,
                c"%ps".as_char_ptr(),
                address,
            )
        };
        // That of nothing known is shown as it is, and is nobody's business.
        if name.starts_with(b"0x") {
            name = [0; Self::LEN];
            name[0] = b'?';
        }
        Self(name)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        until_nul(&self.0)
    }

    /// Whether it belongs to FUSE.
    pub(crate) fn is_of_fuse(&self) -> bool {
        let name = self.as_bytes();

        name.strip_prefix(b"__")
            .unwrap_or(name)
            .starts_with(b"fuse_")
            || name == b"request_wait_answer"
    }

    /// Whether it waits at the exit for I/O that the task has begun and not seen the end of.
    pub(crate) fn is_of_exit_with_io(&self) -> bool {
        matches!(self.as_bytes(), b"exit_aio" | b"io_uring_cancel_generic")
    }
}

impl AsRef<[u8]> for Symbol {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}", text::plain(self.as_bytes())))
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(&[])
}

#[kunit_tests(pidns_guard_thread)]
mod tests {
    use super::*;

    #[test]
    fn functions_go_by_their_names() {
        let function = bindings::schedule as *const () as c_ulong;

        assert_eq!(Symbol::at(function).as_bytes(), b"schedule");
    }

    #[test]
    fn kernel_threads_are_in_no_call() {
        // Tests run in a kernel thread.
        let current = current!();
        let thread = Thread::of(current);
        let rcu = rcu::read_lock();

        assert_eq!(thread.syscall(&rcu), None);
        assert!(thread.cpu_time() > 0);
    }

    #[test]
    fn addresses_are_not_shown() {
        assert_eq!(Symbol::at(0x1234).as_bytes(), b"?");
    }
}
