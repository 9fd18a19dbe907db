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
    ledger::Record,
    pidns::{
        Held,
        PidRef,
        Pidns,
        CHILD_REAPER, //
    },
    process::Process,
    text::Comm,
    thread::{
        Path,
        Symbol,
        Thread, //
    }, //
};

/// How many holders are named; the others are counted.
const NAMED: usize = 16;

/// How many threads of a process are looked at.
const THREADS: usize = 16;

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
            ns.ns()
                .for_each_pid(|pid, rcu| holders.visit(ns.ns(), pid, rcu));
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

    fn visit<'rcu>(&mut self, ns: Pidns<'_>, pid: PidRef<'rcu>, rcu: &'rcu rcu::Guard) {
        let process = pid.process(rcu);
        // Who is inside too is a holder of its own.
        let outside = pid.group_member(rcu).filter(|member| member.nr_in(ns) == 0);

        if process.or(outside).is_none() {
            return;
        }
        if self.named.len() == NAMED {
            self.more += 1;
        } else if let Some(process) = process {
            self.add(Holder::new(process, rcu));
        } else if let Some(member) = outside {
            self.add(Holder::outside(member, pid));
        }
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

    /// Whether all of them are on their way out by themselves.
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
    fn outside(member: Process<'_>, group: PidRef<'_>) -> Self {
        let (ns, leader) = (group.pidns(), member.leader());

        Self {
            pid: leader.pid(),
            inside: group.nr_in(ns),
            pidns: ns.inum(),
            comm: leader.comm(),
            state: leader.letter(),
            reason: Reason::Group(Culprit::new(leader)),
        }
    }
}

/// "sh (pid 1234, 5 in 4026532201, Z): reason"
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "{} (pid {}, {} in {}, {}): {}",
            self.comm,
            self.pid,
            self.inside,
            self.pidns,
            self.state,
            self.reason
        ))
    }
}

/// One who could let go.
#[derive(Clone, Copy)]
pub(crate) struct Culprit {
    /// The PID of its process in the root namespace.
    pub(crate) pid: Pid,
    pub(crate) comm: Comm,
}

impl Culprit {
    fn new(thread: Thread<'_>) -> Self {
        Self {
            pid: thread.tgid(),
            comm: thread.comm(),
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{} (pid {})", self.comm, self.pid))
    }
}

/// Why a process is still there.
pub(crate) enum Reason {
    /// A zombie whose parent does not reap it.
    Unreaped(Culprit),
    /// A zombie that its tracer has to reap first.
    Traced(Culprit),
    /// Stopped at `PTRACE_EVENT_EXIT`, the one stop that SIGKILL does not end.
    PtraceStop(Culprit),
    /// Asleep until a FUSE server answers.
    Fuse(Symbol, Option<u32>),
    /// Asleep, and only what it waits for can wake it.
    Uninterruptible(Option<Symbol>),
    /// In the refrigerator of cgroup v1.
    Frozen(Path),
    /// Writing a core dump.
    CoreDump(Option<Symbol>),
    /// The init of a namespace below, which waits for its members.
    Nested(u32),
    /// On its way, with that many pages to give back.
    Running(usize),
    /// Nobody has killed it.
    Alive,
    /// Asleep for another reason.
    Asleep(Option<Symbol>),
    /// It is outside, but its process group has the number of one that was inside.
    Group(Culprit),
}

impl Reason {
    fn of_dead<'rcu>(leader: Thread<'rcu>, rcu: &'rcu rcu::Guard) -> Self {
        let parent = leader.parent(rcu);

        match leader.tracer(rcu) {
            Some(tracer) if tracer.tgid() != parent.tgid() => Self::Traced(Culprit::new(tracer)),
            _ => Self::Unreaped(Culprit::new(parent)),
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
            return Self::PtraceStop(Culprit::new(tracer));
        }
        if thread.is_frozen() {
            return Self::Frozen(thread.freezer_path(rcu));
        }
        if thread.is_running() {
            return Self::Running(if process.is_alive() {
                0
            } else {
                process.peak_pages()
            });
        }

        let stack = thread.stack();
        let function = stack.functions().next();
        if thread.dumps_core() {
            return Self::CoreDump(function);
        }
        if !thread.is_uninterruptible() {
            return match Self::nested(process) {
                Some(ns) if stack.is_in(b"zap_pid_ns_processes") => Self::Nested(ns.inum()),
                _ => Self::Asleep(function),
            };
        }
        let of_fuse = stack.functions().find(Symbol::is_of_fuse);
        match (of_fuse, function) {
            (Some(function), _) => Self::Fuse(function, None),
            (None, function) => Self::Uninterruptible(function),
        }
    }

    /// The namespace that a process is the init of.
    fn nested(process: Process<'_>) -> Option<Pidns<'_>> {
        let ns = process.pidns();

        (process.nr_in(ns) == CHILD_REAPER).then_some(ns)
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
            Self::Fuse(..) => 6,
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
            Self::Fuse(..) => c"fuse",
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
    pub(crate) fn culprit(&self) -> Option<&Culprit> {
        match self {
            Self::Unreaped(culprit)
            | Self::Traced(culprit)
            | Self::PtraceStop(culprit)
            | Self::Group(culprit) => Some(culprit),
            _ => None,
        }
    }

    /// Where it sleeps.
    pub(crate) fn function(&self) -> Option<&Symbol> {
        match self {
            Self::Fuse(function, _) => Some(function),
            Self::Uninterruptible(function) | Self::CoreDump(function) | Self::Asleep(function) => {
                function.as_ref()
            }
            _ => None,
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
            Self::Fuse(_, Some(connection)) => f.write_fmt(fmt!(
                "waits for a FUSE server{}; to end it: echo 1 > /sys/fs/fuse/connections/{}/abort",
                in_function,
                connection
            )),
            Self::Fuse(_, None) => f.write_fmt(fmt!(
                "waits for a FUSE server{}; to end it: abort the one in /sys/fs/fuse/connections \
                 with requests waiting",
                in_function
            )),
            Self::Uninterruptible(_) => {
                f.write_fmt(fmt!("in uninterruptible sleep{}", in_function))
            }
            Self::Frozen(path) => f.write_fmt(fmt!("frozen by cgroup {}", path)),
            Self::CoreDump(_) => f.write_fmt(fmt!("dumping core{}", in_function)),
            Self::Nested(ns) => f.write_fmt(fmt!(
                "init of pid namespace {}, which waits for its own members",
                ns
            )),
            Self::Running(pages) => f.write_fmt(fmt!(
                "running, with {} MB to give back",
                pages >> (20 - PAGE_SHIFT)
            )),
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
