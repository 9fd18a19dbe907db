/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The race between a fork and the death of an init, for spin: every order in
 * which the steps below can come, and every order in which the stores among them
 * can become visible. scripts/model runs it for the scenarios and the mutants
 * that are listed in the file `runs`.
 *
 * A store goes into the buffer of its CPU and comes out at any later moment, in
 * any order: as on arm64, and more than x86 allows. smp_mb(), a grace period
 * and an interrupt on all CPUs empty it. A read sees memory. Reads are not
 * reordered here; for that there are the *.litmus files.
 *
 * The kernel is the bare one, of scripts/kernel/bare.patch: what holds here is
 * the module's doing. With STOCK the kernel does its own part too.
 *
 * Namespace n is the child of n - 1, and 0 is the root. "rust/" is the module,
 * "kernel/" the kernel.
 *
 * Scenarios are made of these:
 *
 *	LEVELS=n	so many namespaces, one in the other
 *	FORKS=n		so many forks, each into a slot
 *	NSn, PARENTn	where fork n is born, and the slot of who forks it
 *	THREADS=2	of an init
 *	UNBORN		fork 0 makes the init of the last namespace
 *	NO_GUARD	guard=0
 *	LATE		early=0
 *	ZAP		zap_pid_ns_processes() takes place
 *	STOCK		the kernel's guard and kill are there
 *	LOAD, UNLOAD	the module comes, goes
 *	LIFETIME	init is freed in the end
 *	MAY_RUN		a child may run before it is killed
 *
 * All others take something out, or do it wrong.
 */

#ifndef LEVELS
#define LEVELS		1
#endif
#ifndef FORKS
#define FORKS		2
#endif
#ifndef THREADS
#define THREADS		1
#endif
#define OUTSIDE		9	/* setns() into it, and then fork() */
#ifndef NS0
#define NS0		LEVELS
#endif
#ifndef PARENT0
#define PARENT0		OUTSIDE
#endif
#ifndef NS1
#define NS1		LEVELS
#endif
#ifndef PARENT1
#define PARENT1		MEMBER
#endif
#define MEMBER		FORKS	/* the slot of who was there before */
#define SLOTS		(FORKS + 1)
#ifndef MEMBER_NS
#define MEMBER_NS	LEVELS
#endif

#if defined(LATE) || defined(STOCK) || defined(LIFETIME)
#define ZAP
#endif

/*
 * Memory. X_b is a store of X that is still in the buffer of its CPU. Each of
 * these has one writer at a time, and a store changes its value.
 */
bit idr[SLOTS], idr_b[SLOTS];		/* pid_namespace->idr: the PID is found */
bit attached[SLOTS], attached_b[SLOTS];	/* pid->tasks[PIDTYPE_TGID] and, last, [PIDTYPE_PID],
					 * by which kill_pid() finds the task */
byte live[LEVELS + 1];			/* init's signal->live */
bit live_b[LEVELS + 1];
bit adding[LEVELS + 1];			/* PIDNS_ADDING in pid_allocated */
bit adding_b[LEVELS + 1];
bit born[LEVELS + 1];			/* child_reaper is not null */
bit hook[4], hook_b[4];			/* tracepoint->funcs, ftrace_ops_list: it is there, and acts */
#define ON_EXIT		0		/* rust/enforce/reaper.rs: Exits */
#define ON_FORK		1		/* rust/enforce/straggler.rs: Forks */
#define ON_ALLOC	2		/* rust/enforce/guard.rs: Requests */
#define ON_WAIT		3		/* rust/enforce/reaper.rs: Waits */

/* Under a lock of their own (siglock, rq->lock), so never in a buffer. */
bit killed[SLOTS];			/* SIGKILL is pending */
bit init_killed[LEVELS + 1];
bit woken[SLOTS];			/* wake_up_new_task() */

/*
 * Who is where: fork n is n, the last thread of init n is FORKS + n.
 */
#define CPUS		(FORKS + LEVELS + 1)
bit in_srcu[CPUS];			/* srcu_read_lock_fast(&tracepoint_srcu) */
bit in_rcu[CPUS];			/* rcu_read_lock() */
bit in_tasks[CPUS];			/* not asleep, for synchronize_rcu_tasks() */

#ifdef LIFETIME
byte reaper, next_reaper;		/* which thread child_reaper points to */
bit reaper_b;
bit freed[THREADS];			/* its task_struct */
#endif

/* What is known to nobody but here: the truth, to hold the rest against. */
byte ns_of[SLOTS];
bit walked[LEVELS + 1];			/* the ledger: a walk has begun */
bit died[LEVELS + 1];			/* the death has been executed */
bit seen[LEVELS + 1];			/* by the reaper */
bit owed[SLOTS];			/* see UNLOAD */
bit unloaded;				/* the module's text is gone */

#ifdef LATE
#define dead(n)		(!adding[n])
#else
#define dead(n)		(live[n] == 0 || !adding[n])
#endif
#if LEVELS == 1
#define doomed(n)	((n) >= 1 && dead(1))
#define has_died(n)	((n) >= 1 && died[1])
#elif LEVELS == 2
#define doomed(n)	(((n) >= 1 && dead(1)) || ((n) >= 2 && dead(2)))
#define has_died(n)	(((n) >= 1 && died[1]) || ((n) >= 2 && died[2]))
#else
#define doomed(n)	(((n) >= 1 && dead(1)) || ((n) >= 2 && dead(2)) || ((n) >= 3 && dead(3)))
#define has_died(n)	(((n) >= 1 && died[1]) || ((n) >= 2 && died[2]) || ((n) >= 3 && died[3]))
#endif

/* The promises. scripts/model knows the violations by these names. */
bit survivor;	/* I2: someone is left alive in a dead namespace */
bit ran;	/* I3: someone who was born into one has run */
bit allocated;	/* I1: a PID was given out in one */
bit harmed;	/* who is in none was killed, or refused */
bit inside;	/* someone is in the module, which is gone */
bit dangling;	/* memory is read that has been freed */

#define violation(promise, condition) d_step { promise = (condition); assert(!promise); promise = 0 }
/* Each step in the module's text. */
#ifdef UNLOAD
#define MODULE violation(inside, unloaded)
#else
#define MODULE true
#endif

/* Buffers. */
#define comes_out(x)	if :: x##_b -> x = 1 - x; x##_b = 0 :: else fi
#define empty(array, i)	if :: array##_b[i] -> array[i] = 1 - array[i]; array##_b[i] = 0 :: else fi
inline empty_fork(f) { empty(idr, f); empty(attached, f) }
inline empty_init(i) {
	empty(live, i); empty(adding, i);
#ifdef LIFETIME
	if :: reaper_b -> reaper = next_reaper; reaper_b = 0 :: else fi
#endif
}
inline empty_load() { empty(hook, 0); empty(hook, 1); empty(hook, 2); empty(hook, 3) }

proctype ForkBuffer(byte b)
{
end:	do
	:: atomic { idr_b[b] -> empty(idr, b) }
	:: atomic { attached_b[b] -> empty(attached, b) }
	od
}

proctype InitBuffer(byte b)
{
end:	do
#ifdef NO_BARRIER_DEATH
	:: atomic { live_b[b] -> empty(live, b) }
#endif
#ifdef ZAP
	:: atomic { adding_b[b] -> empty(adding, b) }
#endif
#ifdef LIFETIME
	:: atomic { reaper_b -> reaper = next_reaper; reaper_b = 0 }
#endif
	:: false
	od
}

proctype LoadBuffer()
{
end:	do
	:: atomic { hook_b[ON_EXIT] -> empty(hook, ON_EXIT) }
	:: atomic { hook_b[ON_FORK] -> empty(hook, ON_FORK) }
	:: atomic { hook_b[ON_ALLOC] -> empty(hook, ON_ALLOC) }
	:: atomic { hook_b[ON_WAIT] -> empty(hook, ON_WAIT) }
	od
}

/*
 * rust/view/pid_namespace.rs: Pidns::dead(), Pidns::is_dead(). Is n dead, or one above it?
 * Each load is a step. `me` is the CPU, the answer comes in `is_dead`.
 */
inline look(n, me) {
	level = n; is_dead = 0;
#ifdef LIFETIME
	in_rcu[me] = 1;				/* rcu::read_lock() */
#endif
	do
	:: level == 0 -> break			/* take_while(!is_root()) */
	:: else ->
#ifdef LIFETIME
#ifdef LIVE_BEFORE_BIT
		pointer = reaper;
		violation(dangling, freed[pointer]);
#endif
		bit_set = adding[level];	/* is_zapped() */
#ifdef NO_RCU_READER
		in_rcu[me] = 0;
#endif
		if
		:: !bit_set -> is_dead = 1
		:: else ->
			pointer = reaper;	/* child_reaper() */
			violation(dangling, freed[pointer]);	/* live(reaper->signal) */
			is_dead = (live[level] == 0)
		fi;
#else
#ifdef ZAP
		if
		:: !adding[level] -> is_dead = 1	/* is_zapped() */
		:: else
		fi;
#endif
#if !defined(LATE) && !defined(BIT_ONLY)
		if
		:: born[level] && live[level] == 0 -> is_dead = 1	/* process::live() == 0 */
		:: else
		fi;
#endif
#endif
		MODULE;
		if
		:: is_dead -> break
		:: else -> level--
		fi
	od;
#ifdef LIFETIME
	in_rcu[me] = 0
#endif
}

/*
 * rust/view/process.rs: Process::kill(), with the truth told first. A slot that
 * makes an init is UNKILLABLE but for a signal that is privileged.
 */
inline kill(slot) {
	atomic {
		violation(harmed, !has_died(ns_of[slot]));
#if defined(UNBORN) && defined(NO_PRIVILEGE)
		if :: slot == 0 :: else -> killed[slot] = 1 fi
#else
		killed[slot] = 1
#endif
	}
}

/*
 * rust/view/pid_namespace.rs: Pidns::walk(), find_ge_pid() and pid_task() for each PID but 1.
 * Both loads in one step see no more than two would. Then the inits below,
 * who have a PID here too, and have had it for long.
 */
inline walk(n) {
	s = 0;
	do
#ifdef WALK_STOPS_EARLY
	:: s == SLOTS - 1 -> break
#endif
	:: s == SLOTS -> break
	:: s < SLOTS ->
		atomic {
			if
#ifdef WALK_SKIPS_NESTED
			:: idr[s] && attached[s] && ns_of[s] == n -> kill(s)
#else
			:: idr[s] && attached[s] && ns_of[s] >= n -> kill(s)
#endif
			:: else
			fi;
			s++
		}
	od;
	atomic {
		s = n + 1;
		do
		:: s <= LEVELS ->
#ifndef WALK_SKIPS_INITS
			init_killed[s] = born[s];
#endif
			s++
		:: else -> break
		od
	}
}

/*
 * rust/enforce/reaper.rs: kill_members(). A walk through a namespace above that has begun sees
 * them too, and who comes later is met by the straggler hook. That it has begun is
 * noted with a full barrier (rust/explain/ledger/entry.rs: mark()).
 */
inline kill_members(n, me) {
	is_dead = 0;
	level = n - 1;
	do
	:: level < 1 -> break
	:: else ->
		if
#ifdef SKIP_BELOW_DEAD
		:: dead(level) -> is_dead = 1
#else
		:: dead(level) && (walked[level] || !adding[level]) -> is_dead = 1
#endif
		:: else
		fi;
		level--
	od;
#ifdef SKIP_ABOVE_DEAD
	if :: n < LEVELS && live[LEVELS] == 0 -> is_dead = 1 :: else fi;
#endif
	walked[n] = 1;				/* event::walk() */
	if
	:: is_dead				/* all of them are members there */
	:: else -> walk(n)
	fi;
	MODULE
}

/* rust/enforce/straggler.rs: Forks::on_fork() */
inline straggler(f, n) {
#ifndef NO_BARRIER_HOOK
	d_step { empty_fork(f) };		/* smp_mb() */
#endif
#ifdef NO_ANCESTORS_HOOK
	is_dead = (live[n] == 0 || !adding[n]);
#else
	look(n, f);				/* child.pidns().dead() */
#endif
	if
	:: is_dead -> kill(f)
	:: else
	fi;
	MODULE
}

/* kernel_clone(), of a process that is born in n */
proctype Fork(byte f; byte n; byte parent)
{
	byte level, was_dead;
	bit is_dead;
#ifdef LIFETIME
	byte pointer;
	bit bit_set;
#endif

	/* A process that has SIGKILL pending comes to its end and not to fork(). */
	if
	:: parent == OUTSIDE
	:: parent != OUTSIDE ->
end_unborn:	woken[parent]
	fi;
	if
	:: parent != OUTSIDE && killed[parent] -> goto out
	:: else
	fi;

	/* rust/hooks/ftrace.rs: entered(), rust/enforce/guard.rs: is_refused() */
	in_tasks[f] = 1;
	if
	:: hook[ON_ALLOC] ->
		was_dead = doomed(n);
		MODULE;
#ifdef NO_ANCESTORS_GUARD
		is_dead = (live[n] == 0 || !adding[n]);
#else
		look(n, f);
#endif
		if
		:: is_dead ->			/* rust/hooks/alloc_pid.rs: answer() */
			violation(harmed, !has_died(n));
			MODULE;
			in_tasks[f] = 0;
			goto out
		:: else
		fi;
		violation(allocated, was_dead)
	:: else
	fi;
	in_tasks[f] = 0;			/* alloc_pid() sleeps */

	/* kernel/pid.c: alloc_pid(), idr_replace() under pidmap_lock */
#ifdef STOCK
	atomic {				/* PIDNS_ADDING, on all levels */
		level = n;
		do
		:: level == 0 -> break
		:: else ->
			if
			:: !adding[level] || adding_b[level] -> goto out
			:: else -> level--
			fi
		od
	};
#endif
	idr_b[f] = 1;

#ifdef HOOK_BEFORE_ATTACH
	straggler(f, n);
#endif
	/* kernel/fork.c: copy_process(), attach_pid() under tasklist_lock */
	atomic {
		if
		:: parent != OUTSIDE && killed[parent] ->	/* fatal_signal_pending(current) */
			goto free
#ifdef STOCK
		:: !adding[n] || adding_b[n] -> goto free	/* PIDNS_ADDING, innermost */
#endif
		:: else
		fi;
		attached_b[f] = 1;
		was_dead = doomed(n);
#ifdef UNBORN
		if :: f == 0 -> born[n] = 1 :: else fi
#endif
	};

	/* include/linux/tracepoint.h: trace_sched_process_fork() */
#if !defined(HOOK_AFTER_WAKE) && !defined(HOOK_BEFORE_ATTACH)
	in_srcu[f] = 1;
	if
	:: hook[ON_FORK] -> MODULE; straggler(f, n); owed[f] = 1
	:: else
	fi;
	in_srcu[f] = 0;
#endif
	/* kernel/sched/core.c: wake_up_new_task() */
	atomic {
#if !defined(LOAD) && !defined(UNLOAD) && !defined(MAY_RUN)
		violation(ran, was_dead && !killed[f]);
#endif
		woken[f] = 1
	};
#ifdef HOOK_AFTER_WAKE
	straggler(f, n);
#endif
	goto out;
free:	skip;
	d_step { empty(idr, f); idr[f] = 0 };	/* free_pid() */
out:	skip
}

/* A grace period that begins after what the caller did, see the callers. */
inline grace_period() {
	c = 0;
	do
	:: c < FORKS -> !in_rcu[c]; d_step { empty_fork(c); c++ }
	:: c >= FORKS && c < CPUS -> !in_rcu[c]; d_step { empty_init(c - FORKS); c++ }
	:: c == CPUS -> break
	od
}

/* do_exit(), of thread t of the init of n */
proctype Exit(byte n; byte t)
{
	byte level, s, c;
	bit is_dead, last;
#ifdef LIFETIME
	byte pointer;
	bit bit_set;
#endif

	/* Some inits never die, some of their own will at any moment. */
	if
	:: true
	:: true ->
end_alive:	init_killed[n]
	fi;

#ifdef WALK_BEFORE_DEATH
	died[n] = 1;
	kill_members(n, FORKS + n);
#endif
	/* kernel/exit.c: atomic_dec_and_test(&tsk->signal->live), a full barrier */
	atomic {
#ifdef NO_BARRIER_DEATH
		live_b[n] = 1;
		last = 1;
#else
		live[n]--;
		last = (live[n] == 0);
#endif
#ifdef DEATH_OF_LEADER
		last = (t == 0);
#endif
#ifndef DEATH_OF_LEADER
		if
		:: last -> died[n] = 1
		:: else
		fi
#else
		died[n] = (live[n] == 0)
#endif
	};
	if
	:: !last ->
#ifdef LIFETIME
		atomic { next_reaper = 1 - t; reaper_b = 1 };	/* find_child_reaper() */
		d_step { empty_init(n) };
		grace_period();	/* release_task(), put_task_struct_rcu_user() */
		freed[t] = 1;
#endif
		goto out
	:: else
	fi;

#ifdef STUCK
	/* acct_collect(), audit_free(): the outermost never comes to the hook. */
	if :: n == 1 -> goto out :: else fi;
#endif

	/* include/linux/tracepoint.h: trace_sched_process_exit() */
	in_srcu[FORKS + n] = 1;
	if
	:: hook[ON_EXIT] ->			/* rust/enforce/reaper.rs: Exits::on_exit() */
		MODULE;
#ifndef LATE
		seen[n] = 1;
#if !defined(NO_WALK) && !defined(WALK_BEFORE_DEATH)
		kill_members(n, FORKS + n)
#endif
#endif
	:: else
	fi;
	in_srcu[FORKS + n] = 0;

#ifdef ZAP
	/* kernel/pid_namespace.c: zap_pid_ns_processes() */
#ifdef WALK_AT_ZAP_ENTRY
	kill_members(n, FORKS + n);
#endif
	adding_b[n] = 1;			/* disable_pid_allocation() */
#ifdef STOCK
	/* read_lock(&tasklist_lock): what was attached before is seen, all of it */
	atomic {
		empty_init(n);
		s = 0;
		do
		:: s < FORKS -> empty_fork(s); s++
		:: s == FORKS -> break
		od;
		s = 0;
		do
		:: s < SLOTS ->
			if
			:: idr[s] && attached[s] && ns_of[s] >= n -> killed[s] = 1
			:: else
			fi;
			s++
		:: s == SLOTS -> break
		od;
		s = n + 1;
		do
		:: s <= LEVELS -> init_killed[s] = born[s]; s++
		:: s > LEVELS -> break
		od
	};
#endif
#ifdef LATE
	/* do_wait(), called by kernel_wait4(); rust/enforce/reaper.rs: Waits::on_wait() */
	in_srcu[FORKS + n] = 1;
	if
	:: hook[ON_WAIT] ->
		MODULE;
		seen[n] = 1;
#ifndef NO_BARRIER_WALK
		d_step { empty_init(n) };	/* smp_mb() */
#endif
#ifndef WALK_AT_ZAP_ENTRY
		kill_members(n, FORKS + n)
#endif
	:: else
	fi;
	in_srcu[FORKS + n] = 0;
#endif
#ifdef LIFETIME
	/* It waits until no PID is in use but its own. */
end_waits: (!(idr[0] || idr_b[0]) || (killed[0] && woken[0])) &&
	(!(idr[1] || idr_b[1]) || (killed[1] && woken[1]));
	d_step { empty_init(n) };
	grace_period();			/* release_task(), put_task_struct_rcu_user() */
	freed[t] = 1;
#endif
#endif
out:	skip
}

#if defined(LOAD) || defined(UNLOAD)
/*
 * rust/hooks/tracepoint.rs: Probe::register(), rust/hooks/ftrace.rs: Ops, and back;
 * kernel/tracepoint.c: tracepoint_add_func(), tracepoint_remove_func(). Their
 * rcu_assign_pointer() is no full barrier. At load all hooks are there before any
 * acts: rust/self_test.rs: run() lets them with one store, which each of them looks at.
 * Here that is one store for each, in any order.
 */
inline change(which) {
	d_step { empty(hook, which); hook_b[which] = 1 }
}

/* Nobody is waited for, but all has come out of the buffers that went in before. */
inline sync_cpus() {
	d_step { empty_load(); c = 0 };
	do
	:: c < FORKS -> d_step { empty_fork(c); c++ }
	:: c >= FORKS && c < CPUS -> d_step { empty_init(c - FORKS); c++ }
	:: c == CPUS -> break
	od
}

/*
 * synchronize_rcu(). Interrupts are off while a child is attached, which makes a
 * reader of copy_process(), and that is one step here: whoever has done it
 * has emptied its buffer when this ends, whoever has not will see what was stored
 * before this began.
 */
inline synchronize_rcu() { sync_cpus() }

/* tracepoint_synchronize_unregister(): waits for those in a probe, and no others. */
inline tracepoint_synchronize_unregister() {
	d_step { empty_load(); c = 0 };
	do
	:: c < CPUS -> !in_srcu[c]; c++
	:: c == CPUS -> break
	od
}

inline synchronize_rcu_tasks() {
	d_step { empty_load(); c = 0 };
	do
	:: c < CPUS -> !in_tasks[c]; c++
	:: c == CPUS -> break
	od
}

/* rust/enforce/adoption.rs: kill_doomed() */
inline adopt() {
	s = 1;
	do
	:: s > LEVELS -> break
	:: else -> walked[s] = walked[s] || dead(s); s++
	od;
	s = 0;
	do
	:: s == SLOTS + LEVELS + 1 -> break
	:: s < SLOTS ->
		if
		:: idr[s] && attached[s] ->	/* for_each_member() of the root */
#ifdef NO_ANCESTORS_LOOK
			is_dead = (ns_of[s] && live[ns_of[s]] == 0);
#else
			look(ns_of[s], 0);	/* is_doomed() */
#endif
			if
			:: is_dead -> kill(s)
			:: else
			fi
		:: else
		fi;
		s++
	:: s >= SLOTS && s < SLOTS + LEVELS + 1 ->	/* the inits */
		if
		:: s - SLOTS > 1 ->
			look(s - SLOTS, 0);
			if :: is_dead -> init_killed[s - SLOTS] = 1 :: else fi
		:: else
		fi;
		s++
	od
}

proctype Load()
{
	byte level, s, c;
	bit is_dead;
#ifdef LOAD
	/* rust/pidns_guard.rs: PidnsGuard::load() */
#ifdef LOOK_FIRST
	adopt();
#endif
#ifdef LATE
	change(ON_WAIT);
#endif
	change(ON_EXIT);
	change(ON_FORK);
#ifndef NO_GUARD
	change(ON_ALLOC);
#endif
#ifdef BARRIER_AT_LOAD
	d_step { empty_load() };		/* not enough: forks have none */
#endif
#ifndef NO_GP_LOAD
	synchronize_rcu();			/* rust/enforce/adoption.rs: adopt() */
#endif
#if !defined(LOOK_FIRST) && !defined(NO_LOOK)
	adopt();
#endif
#endif
#ifdef UNLOAD
	/*
	 * What holds then: who was attached before this began, or has been seen by
	 * the straggler hook, does not survive a death that the reaper has seen.
	 */
	d_step {
		s = 0;
		do
		:: s < SLOTS ->
			if :: attached[s] || attached_b[s] -> owed[s] = 1 :: else fi;
			s++
		:: s == SLOTS -> break
		od
	};
	/* struct PidnsGuard is dropped from the first field to the last. */
#ifndef NO_GUARD
	change(ON_ALLOC);
#ifndef NO_RCU_TASKS
	synchronize_rcu_tasks();		/* rust/hooks/ftrace.rs: Ops, StandInDrain */
#endif
#endif
	change(ON_FORK);
#ifndef NO_GP_UNLOAD
	tracepoint_synchronize_unregister();	/* rust/hooks/tracepoint.rs: Probe::drop() */
#endif
	change(ON_EXIT);
#ifndef NO_GP_UNLOAD
	tracepoint_synchronize_unregister();
#endif
#ifdef LATE
	change(ON_WAIT);
#ifndef NO_GP_UNLOAD
	tracepoint_synchronize_unregister();
#endif
#endif
#ifndef NO_LAST_LOOK
	synchronize_rcu();			/* rust/enforce/adoption.rs: FinalSweep::drop() */
	adopt();
#endif
	unloaded = 1
#endif
}
#endif

/* When all has come to rest: who lives? */
proctype Judge()
{
	byte s;

	timeout;
	d_step {
		s = 0;
		do
		:: s < SLOTS ->
#ifdef STUCK
			/* Its own members wait for kill_late(). */
			survivor = survivor || (attached[s] && !killed[s] &&
				ns_of[s] >= 2 && seen[2]);
#elif defined(UNLOAD) && !defined(STOCK)
			survivor = survivor || (owed[s] && attached[s] && !killed[s] &&
				((ns_of[s] >= 1 && seen[1])
#if LEVELS > 1
				|| (ns_of[s] >= 2 && seen[2])
#endif
				));
#else
			survivor = survivor || (attached[s] && !killed[s] && doomed(ns_of[s]));
#endif
			s++
		:: s == SLOTS -> break
		od;
#if LEVELS > 1 && !defined(STUCK) && (!defined(UNLOAD) || defined(STOCK))
		s = 2;
		do
		:: s <= LEVELS ->
#ifndef UNBORN
			survivor = survivor || (!died[s] && !init_killed[s] && doomed(s - 1));
#endif
			s++
		:: s > LEVELS -> break
		od;
#endif
		assert(!survivor)
	}
}

init
{
	byte i;

	atomic {
		i = 1;
		do
		:: i <= LEVELS ->
			live[i] = THREADS;
			adding[i] = 1;
			born[i] = 1;
			i++
		:: i > LEVELS -> break
		od;
#ifdef UNBORN
		born[LEVELS] = 0;
#endif
#if !defined(LOAD) && !defined(NO_MODULE)
		hook[ON_EXIT] = 1;
#ifndef NO_HOOK
		hook[ON_FORK] = 1;
#endif
#ifndef NO_GUARD
		hook[ON_ALLOC] = 1;
#endif
#ifdef LATE
		hook[ON_WAIT] = 1;
#endif
#endif
		ns_of[0] = NS0;
		run Fork(0, NS0, PARENT0);
		run ForkBuffer(0);
#if FORKS > 1
		ns_of[1] = NS1;
		run Fork(1, NS1, PARENT1);
		run ForkBuffer(1);
#endif
		/* A member that has been there for long, of the outermost one. */
		ns_of[MEMBER] = MEMBER_NS;
		idr[MEMBER] = 1;
		attached[MEMBER] = 1;
		woken[MEMBER] = 1;
		i = 1;
		do
		:: i <= LEVELS ->
#ifdef UNBORN
			if :: i == LEVELS -> break :: else fi;
#endif
			run Exit(i, 0);
#if THREADS > 1
			run Exit(i, 1);
#endif
#if defined(ZAP) || defined(NO_BARRIER_DEATH)
			run InitBuffer(i);
#endif
			i++
		:: i > LEVELS -> break
		od;
#if defined(LOAD) || defined(UNLOAD)
		run Load();
		run LoadBuffer();
#endif
		run Judge()
	}
}
