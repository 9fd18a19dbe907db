// SPDX-License-Identifier: GPL-2.0

//! Who keeps a teardown from its end, why, and who can change that.
//!
//! Whoever still has a PID in the namespace holds it, or whose process group has one; and so does
//! init before it comes to wait for the others, and after that until it is reaped.

use kernel::{
    fmt,
    page::PAGE_SHIFT,
    prelude::*,
    str::CStr,
    sync::rcu,
    task::Pid, //
};

use crate::{
    explain::{
        ledger::Record,
        text::{
            Comm,
            Span, //
        }, //
    },
    view::{
        pid_namespace::{
            Held,
            PidRef,
            Pidns, //
        },
        process::Process,
        thread::{
            Path,
            Symbol,
            Thread, //
        }, //
    }, //
};

/// How many holders are named; the others are counted.
const NAMED: usize = 16;

/// How many threads of a process are looked at.
const THREADS: usize = 16;

/// What a look at a holder with all its threads counts for, in looks at a PID: RCU is released
/// before the next one.
const WHOLE_SLICE: usize = usize::MAX / 2;

/// Those who hold one teardown.
pub(crate) struct Holders {
    /// The first of them.
    pub(crate) named: KVec<Holder>,
    /// How many there are besides.
    pub(crate) more: usize,
    /// Inits below that wait for others, and how many there are besides. They are not the ones to
    /// blame when there is anybody else.
    nested: KVec<Holder>,
    more_nested: usize,
}

impl Holders {
    /// Looks who holds a teardown. Takes time for each member; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn of(record: &Record) -> Result<Self> {
        let mut holders = Self {
            named: KVec::with_capacity(NAMED, GFP_KERNEL)?,
            more: 0,
            nested: KVec::with_capacity(NAMED, GFP_KERNEL)?,
            more_nested: 0,
        };

        if let Some((ns, init)) = Self::start(record) {
            if let Some(init) = init {
                holders.add(init);
            }
            // As long as a thread of init lives nobody has killed the others, nor are they waited
            // for.
            if record.died_at.is_some() {
                ns.ns()
                    .for_each_pid(|pid, rcu| holders.visit(ns.ns(), pid, rcu));
            }
        }
        if holders.named.is_empty() {
            core::mem::swap(&mut holders.named, &mut holders.nested);
            holders.more = holders.more_nested;
        }
        Ok(holders)
    }

    /// The namespace while it is there, and its init if that is what holds it.
    fn start(record: &Record) -> Option<(Held, Option<Holder>)> {
        let rcu = rcu::read_lock();
        let init = Process::find(record.init.id, &rcu)?;
        let ns = init.pidns();
        let waits = init
            .threads(&rcu)
            .any(|thread| !thread.is_dead() && !thread.is_frozen());
        let holds_itself = !ns.is_zapped() || !waits || record.empty_at.is_some();

        Some((
            init.hold_pidns(),
            holds_itself.then(|| Holder::new(init, &rcu)),
        ))
    }

    /// Returns how much it has done, see [`Pidns::for_each_pid()`].
    fn visit<'rcu>(&mut self, ns: Pidns<'_>, pid: PidRef<'rcu>, rcu: &'rcu rcu::Guard) -> usize {
        let process = pid.process(rcu);
        // Who is inside too is a holder of its own.
        let outside = pid.group_member(rcu).filter(|member| member.nr_in(ns) == 0);

        if process.or(outside).is_none() {
            return 1;
        }
        if self.named.len() == NAMED {
            self.more += 1;
            return 1;
        }
        if let Some(process) = process {
            self.add(Holder::new(process, rcu));
        } else if let Some(member) = outside {
            self.add(Holder::outside(member, pid, rcu));
        }
        WHOLE_SLICE
    }

    fn add(&mut self, holder: Holder) {
        let (list, more) = match holder.reason {
            Reason::Nested(_) => (&mut self.nested, &mut self.more_nested),
            _ => (&mut self.named, &mut self.more),
        };

        if list.push_within_capacity(holder).is_err() {
            *more += 1;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.named.len() + self.more
    }

    /// Whether all of them run: as who is on its way out does, and who goes round in circles.
    pub(crate) fn are_busy(&self) -> bool {
        self.more == 0
            && self
                .named
                .iter()
                .all(|holder| matches!(holder.reason, Reason::Running(_)))
    }
}

/// A process that holds a teardown.
pub(crate) struct Holder {
    /// In the root namespace; of the thread in question.
    pub(crate) pid: Pid,
    /// In the namespace it lives in.
    pub(crate) inside: Pid,
    /// That namespace.
    pub(crate) pidns: u32,
    pub(crate) comm: Comm,
    /// The letter that `ps` shows.
    pub(crate) state: char,
    pub(crate) reason: Reason,
}

impl Holder {
    fn new<'rcu>(process: Process<'rcu>, rcu: &'rcu rcu::Guard) -> Self {
        let ns = process.pidns();
        let (thread, reason) = process
            .threads(rcu)
            .take(THREADS)
            .filter(|thread| !thread.is_dead())
            .map(|thread| (thread, Reason::of_living(process, thread, rcu)))
            .max_by_key(|(_, reason)| reason.weight())
            .unwrap_or_else(|| {
                // The leader is not reaped before its threads are, by whoever traces them.
                let mut threads = process.threads(rcu).take(THREADS);
                let thread = threads
                    .find(|thread| thread.tracer(rcu).is_some())
                    .unwrap_or(process.leader());
                (thread, Reason::of_dead(thread, rcu))
            });

        Self {
            pid: thread.pid(),
            inside: process.nr_in(ns),
            pidns: ns.inum(),
            comm: thread.comm(),
            state: thread.letter(),
            reason,
        }
    }

    /// One that is elsewhere, but uses a PID for the number of its process group.
    fn outside<'rcu>(member: Process<'rcu>, group: PidRef<'rcu>, rcu: &'rcu rcu::Guard) -> Self {
        let (ns, leader) = (group.pidns(), member.leader());

        Self {
            pid: leader.pid(),
            inside: group.nr_in(ns),
            pidns: ns.inum(),
            comm: leader.comm(),
            state: leader.letter(),
            reason: Reason::Group(Blocker::new(leader, rcu)),
        }
    }
}

/// "sh (pid 1234, 5 in 4026532201, Z): reason; what to look at"
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "{} (pid {}, {} in {}, {}): {}{}",
            self.comm,
            self.pid,
            self.inside,
            self.pidns,
            self.state,
            self.reason,
            self.reason.where_to_look()
        ))
    }
}

/// One who could let go, and what it is at.
pub(crate) struct Blocker {
    /// The PID of its process in the root namespace.
    pub(crate) pid: Pid,
    pub(crate) comm: Comm,
    /// The letter that `ps` shows, of that one of its threads which is hardest to reach.
    pub(crate) state: char,
    /// Where that thread sleeps.
    pub(crate) function: Option<Symbol>,
    /// The namespace that it is the living init of: who ends it ends all of that.
    pub(crate) init_of: Option<u32>,
}

impl Blocker {
    /// What is known of the process of a thread.
    fn new<'rcu>(thread: Thread<'rcu>, rcu: &'rcu rcu::Guard) -> Self {
        let process = thread.process(rcu);
        let hardest = process
            .into_iter()
            .flat_map(|process| process.threads(rcu).take(THREADS))
            .filter(|thread| !thread.is_dead())
            .max_by_key(|thread| match thread.letter() {
                'D' => 3,
                't' => 2,
                'T' => 1,
                _ => 0,
            })
            .unwrap_or(thread);
        let init_of = process
            .filter(|process| !process.is_exiting())
            .and_then(Process::init_of)
            .filter(|ns| !ns.is_root());

        Self {
            pid: thread.tgid(),
            comm: thread.comm(),
            state: hardest.letter(),
            function: if hardest.is_running() {
                None
            } else {
                hardest.stack().functions().next()
            },
            init_of: init_of.map(Pidns::inum),
        }
    }
}

/// "sh (pid 1234, D in wait_for_device())": what it is at is said where it is not at rest.
impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{} (pid {}", self.comm, self.pid))?;
        match self.state {
            'D' => f.write_fmt(fmt!(", D{}", In(self.function.as_ref())))?,
            'T' => f.write_str(", stopped")?,
            't' => f.write_str(", stopped by its tracer")?,
            _ => (),
        }
        if let Some(ns) = self.init_of {
            f.write_fmt(fmt!(", init of living pid namespace {}", ns))?;
        }
        f.write_str(")")
    }
}

/// A task that runs, or waits for a CPU.
pub(crate) struct Running {
    /// The CPU time that it has used in all, in nanoseconds.
    pub(crate) cpu: u64,
    /// How many pages it has to give back at most, if it has come to that.
    pub(crate) pages: usize,
    /// Where it was interrupted, if it has no CPU just now.
    pub(crate) function: Option<Symbol>,
    /// The system call that it is in.
    pub(crate) syscall: Option<c_int>,
}

/// Why a process is still there.
pub(crate) enum Reason {
    /// A zombie whose parent does not reap it.
    Unreaped(Blocker),
    /// A zombie that its tracer has to reap first.
    Traced(Blocker),
    /// Stopped at `PTRACE_EVENT_EXIT`, the one stop that SIGKILL does not end.
    PtraceStop(Blocker),
    /// Asleep until a FUSE server answers. Which one that is cannot be seen from here.
    Fuse(Symbol),
    /// On its way out, until its asynchronous I/O is done. On what cannot be seen from here.
    Aio(Symbol),
    /// Asleep, and only what it waits for can wake it.
    Uninterruptible(Option<Symbol>),
    /// In the refrigerator: of cgroup v1, for this cgroup of its own or one above it; or of the
    /// whole system, if that is the root.
    Frozen(Path),
    /// Writing a core dump.
    CoreDump(Option<Symbol>),
    /// The init of a namespace below, which waits for its members.
    Nested(u32),
    /// Running.
    Running(Running),
    /// Nobody has killed it.
    Alive,
    /// Asleep for another reason.
    Asleep(Option<Symbol>),
    /// It is outside, but its process group has the number of one that was inside.
    Group(Blocker),
}

impl Reason {
    fn of_dead<'rcu>(leader: Thread<'rcu>, rcu: &'rcu rcu::Guard) -> Self {
        let parent = leader.parent(rcu);

        match leader.tracer(rcu) {
            Some(tracer) if tracer.tgid() != parent.tgid() => {
                Self::Traced(Blocker::new(tracer, rcu))
            }
            _ => Self::Unreaped(Blocker::new(parent, rcu)),
        }
    }

    fn of_living<'rcu>(
        process: Process<'rcu>,
        thread: Thread<'rcu>,
        rcu: &'rcu rcu::Guard,
    ) -> Self {
        if !process.is_exiting() {
            return Self::Alive;
        }
        if let Some(tracer) = thread.tracer(rcu).filter(|_| thread.is_stopped_by_tracer()) {
            return Self::PtraceStop(Blocker::new(tracer, rcu));
        }
        if thread.is_frozen() {
            return Self::Frozen(thread.freezer_path(rcu));
        }
        if thread.is_running() {
            let pages = if process.is_alive() {
                0
            } else {
                process.peak_pages()
            };
            // There is no stack to be seen of who has a CPU.
            return Self::Running(Running {
                cpu: thread.cpu_time(),
                pages,
                function: thread.stack().functions().next(),
                syscall: thread.syscall(rcu),
            });
        }

        let stack = thread.stack();
        let function = stack.functions().next();
        if thread.dumps_core() {
            return Self::CoreDump(function);
        }
        if let Some(function) = stack.functions().find(Symbol::is_of_exit_with_io) {
            return Self::Aio(function);
        }
        if !thread.is_uninterruptible() {
            return match process.init_of() {
                Some(ns) if stack.is_in(b"zap_pid_ns_processes") => Self::Nested(ns.inum()),
                _ => Self::Asleep(function),
            };
        }
        let of_fuse = stack.functions().find(Symbol::is_of_fuse);
        of_fuse.map_or(Self::Uninterruptible(function), Self::Fuse)
    }

    /// Of the threads of a process, the one that is named is that with the weightiest reason.
    fn weight(&self) -> u32 {
        match self {
            Self::Unreaped(_) | Self::Traced(_) | Self::Group(_) => 0,
            Self::Asleep(_) => 1,
            Self::Alive => 2,
            Self::Running(_) => 3,
            Self::Nested(_) => 4,
            Self::Uninterruptible(_) => 5,
            Self::Fuse(_) | Self::Aio(_) => 6,
            Self::Frozen(_) => 7,
            Self::CoreDump(_) => 8,
            Self::PtraceStop(_) => 9,
        }
    }

    /// The name that programs know it by.
    pub(crate) fn name(&self) -> &'static CStr {
        match self {
            Self::Unreaped(_) => c"unreaped",
            Self::Traced(_) => c"traced",
            Self::PtraceStop(_) => c"ptrace_stop",
            Self::Fuse(_) => c"fuse",
            Self::Aio(_) => c"aio",
            Self::Uninterruptible(_) => c"uninterruptible",
            Self::Frozen(_) => c"frozen",
            Self::CoreDump(_) => c"core_dump",
            Self::Nested(_) => c"nested",
            Self::Running(_) => c"running",
            Self::Alive => c"alive",
            Self::Asleep(_) => c"asleep",
            Self::Group(_) => c"group",
        }
    }

    /// Who can change it.
    pub(crate) fn blocker(&self) -> Option<&Blocker> {
        match self {
            Self::Unreaped(blocker)
            | Self::Traced(blocker)
            | Self::PtraceStop(blocker)
            | Self::Group(blocker) => Some(blocker),
            _ => None,
        }
    }

    /// Where it sleeps.
    pub(crate) fn function(&self) -> Option<&Symbol> {
        match self {
            Self::Fuse(function) | Self::Aio(function) => Some(function),
            Self::Uninterruptible(function)
            | Self::CoreDump(function)
            | Self::Asleep(function)
            | Self::Running(Running { function, .. }) => function.as_ref(),
            _ => None,
        }
    }
}

impl Reason {
    /// What tells the one to turn to, where the module cannot: to be put behind the reason.
    fn where_to_look(&self) -> &'static str {
        match self {
            Self::Fuse(_) => {
                "; its connection is one whose /sys/fs/fuse/connections/N/waiting is not 0"
            }
            Self::Frozen(path) if path.as_bytes() != b"/" => {
                "; thaw the one whose freezer.self_freezing is 1"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_function = In(self.function());

        match self {
            Self::Unreaped(parent) => {
                f.write_fmt(fmt!("zombie, not reaped by its parent {}", parent))
            }
            Self::Traced(tracer) => f.write_fmt(fmt!("zombie, held by its tracer {}", tracer)),
            Self::PtraceStop(tracer) => {
                f.write_fmt(fmt!("stopped at its exit by its tracer {}", tracer))
            }
            Self::Fuse(_) => f.write_fmt(fmt!("waits for a FUSE server{}", in_function)),
            Self::Aio(_) => f.write_fmt(fmt!("waits for its asynchronous I/O{}", in_function)),
            Self::Uninterruptible(_) => {
                f.write_fmt(fmt!("in uninterruptible sleep{}", in_function))
            }
            Self::Frozen(path) if path.as_bytes() == b"/" => {
                f.write_str("frozen with the whole system, which goes to sleep")
            }
            Self::Frozen(path) => f.write_fmt(fmt!(
                "frozen by the cgroup v1 freezer, by its own cgroup {} or one above that",
                path
            )),
            Self::CoreDump(_) => f.write_fmt(fmt!("dumping core{}", in_function)),
            Self::Nested(ns) => f.write_fmt(fmt!(
                "init of pid namespace {}, which waits for its own members",
                ns
            )),
            Self::Running(running) => {
                f.write_fmt(fmt!(
                    "running{}, has used {} of CPU time",
                    in_function,
                    Span(running.cpu as i64)
                ))?;
                if let Some(syscall) = running.syscall {
                    f.write_fmt(fmt!(", in system call {}", syscall))?;
                }
                match running.pages >> (20 - PAGE_SHIFT) {
                    0 => Ok(()),
                    megabytes => f.write_fmt(fmt!(", had {} MB of memory", megabytes)),
                }
            }
            Self::Alive => f.write_str("nothing has killed it"),
            Self::Asleep(_) => f.write_fmt(fmt!("asleep{}", in_function)),
            Self::Group(_) => f.write_str("outside, in the process group of a member that is gone"),
        }
    }
}

/// " in function()", if it is known.
struct In<'a>(Option<&'a Symbol>);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(function) => f.write_fmt(fmt!(" in {}()", function)),
            None => Ok(()),
        }
    }
}
