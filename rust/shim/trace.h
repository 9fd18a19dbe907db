/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace events of the module, fired from rust/hooks/trace.rs. Their names have the
 * module's prefix: that of a raw tracepoint is global.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pidns_guard

#if !defined(_PIDNS_GUARD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _PIDNS_GUARD_TRACE_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

/* The last thread of an init has died; @ending is what wait() will say. */
TRACE_EVENT(pidns_guard_teardown_begin,
	TP_PROTO(unsigned int pidns, unsigned int level, pid_t init_pid,
		 const char *init_comm, int ending),
	TP_ARGS(pidns, level, init_pid, init_comm, ending),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(pid_t, init_pid)
		__array(char, init_comm, TASK_COMM_LEN)
		__field(int, ending)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->init_pid = init_pid;
		memcpy(__entry->init_comm, init_comm, TASK_COMM_LEN);
		__entry->ending = ending;
	),
	TP_printk("pidns=%u level=%u init_pid=%d init_comm=%s ending=0x%x",
		  __entry->pidns, __entry->level, __entry->init_pid,
		  __entry->init_comm, __entry->ending)
);

/* The kill is out. */
TRACE_EVENT(pidns_guard_kill,
	TP_PROTO(unsigned int pidns, unsigned int level, unsigned int processes),
	TP_ARGS(pidns, level, processes),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(unsigned int, processes)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->processes = processes;
	),
	TP_printk("pidns=%u level=%u processes=%u",
		  __entry->pidns, __entry->level, __entry->processes)
);

/*
 * The caller was not given a PID in @pidns, because that or the one above it in
 * @dead_pidns has died.
 */
TRACE_EVENT(pidns_guard_fork_refused,
	TP_PROTO(unsigned int pidns, unsigned int level, unsigned int dead_pidns),
	TP_ARGS(pidns, level, dead_pidns),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(unsigned int, dead_pidns)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->dead_pidns = dead_pidns;
	),
	TP_printk("pidns=%u level=%u dead_pidns=%u",
		  __entry->pidns, __entry->level, __entry->dead_pidns)
);

/* A child was killed before it ran. */
TRACE_EVENT(pidns_guard_straggler,
	TP_PROTO(unsigned int pidns, unsigned int level, pid_t pid,
		 const char *comm),
	TP_ARGS(pidns, level, pid, comm),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(pid_t, child_pid)
		__array(char, child_comm, TASK_COMM_LEN)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->child_pid = pid;
		memcpy(__entry->child_comm, comm, TASK_COMM_LEN);
	),
	TP_printk("pidns=%u level=%u child_pid=%d child_comm=%s",
		  __entry->pidns, __entry->level, __entry->child_pid,
		  __entry->child_comm)
);

/* A teardown does not come to its end; @pid is the first of those who hold it. */
TRACE_EVENT(pidns_guard_stuck,
	TP_PROTO(unsigned int pidns, unsigned int level, u64 age_ns,
		 unsigned int holders, pid_t pid, const char *comm,
		 const char *reason),
	TP_ARGS(pidns, level, age_ns, holders, pid, comm, reason),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(u64, age_ns)
		__field(unsigned int, holders)
		__field(pid_t, holder_pid)
		__array(char, holder_comm, TASK_COMM_LEN)
		__string(reason, reason)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->age_ns = age_ns;
		__entry->holders = holders;
		__entry->holder_pid = pid;
		memcpy(__entry->holder_comm, comm, TASK_COMM_LEN);
		__assign_str(reason);
	),
	TP_printk("pidns=%u level=%u age_ns=%llu holders=%u holder_pid=%d holder_comm=%s reason=%s",
		  __entry->pidns, __entry->level, __entry->age_ns,
		  __entry->holders, __entry->holder_pid, __entry->holder_comm,
		  __get_str(reason))
);

/* No member is left, and init is on its way out. */
TRACE_EVENT(pidns_guard_teardown_end,
	TP_PROTO(unsigned int pidns, unsigned int level, u64 duration_ns,
		 unsigned int killed, unsigned int stragglers,
		 unsigned int refused),
	TP_ARGS(pidns, level, duration_ns, killed, stragglers, refused),
	TP_STRUCT__entry(
		__field(unsigned int, pidns)
		__field(unsigned int, level)
		__field(u64, duration_ns)
		__field(unsigned int, killed)
		__field(unsigned int, stragglers)
		__field(unsigned int, refused)
	),
	TP_fast_assign(
		__entry->pidns = pidns;
		__entry->level = level;
		__entry->duration_ns = duration_ns;
		__entry->killed = killed;
		__entry->stragglers = stragglers;
		__entry->refused = refused;
	),
	TP_printk("pidns=%u level=%u duration_ns=%llu killed=%u stragglers=%u refused=%u",
		  __entry->pidns, __entry->level, __entry->duration_ns,
		  __entry->killed, __entry->stragglers, __entry->refused)
);

#endif /* _PIDNS_GUARD_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
