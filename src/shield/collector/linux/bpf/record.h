/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What every record begins with, the ring they all go into, and the counters that nothing escapes.
 *
 * One ring for all kinds keeps them in order: a process is told before what it does. Every record that can't be
 * delivered is counted by kind in `stats`.
 */
#pragma once

#include "kernel.h"

#define KIND_FORK 1
#define KIND_EXEC 2
#define KIND_EXIT 3
#define KIND_CONNECT 4
#define KIND_ACCEPT 5
#define KIND_CLOSE 6
#define KIND_LISTEN 7
#define KIND_DATAGRAM 8
#define KIND_QUESTION 9
#define KIND_ANSWER 10
#define KINDS 16

#define FLAG_ARGS_UNREADABLE 1
#define FLAG_PATH_CUT 2
#define FLAG_EXECED 4
#define FLAG_INBOUND 8
#define FLAG_ESTABLISHED 16
#define FLAG_UNDIRECTED 32
#define FLAG_SHARED 64

#define EEXIST 17

/* Set by user space before the programs are loaded, in this order. */
const volatile u32 args_limit = 1 << 17;
const volatile u32 env_limit = 1 << 12;
const volatile u32 sees_receiving = 1;

struct header {
	u32 kind;
	u32 flags;
	u64 time_ns;
	u64 start_ns;
	u64 parent_start_ns;
	u32 pid;
	u32 ppid;
	u32 status;
	u32 unused;
};

struct stats { u64 seen[KINDS]; u64 dropped[KINDS]; u64 filtered[KINDS]; };

struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 24); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, u32); __type(value, struct stats);
} stats SEC(".maps");

static __always_inline void deliver(void *record, u64 size, u32 kind, u64 wakeup)
{
	u32 zero = 0;
	struct stats *counted = bpf_map_lookup_elem(&stats, &zero);
	if (!counted || kind >= KINDS)
		return;
	counted->seen[kind]++;
	if (bpf_ringbuf_output(&ring, record, size, wakeup))
		counted->dropped[kind]++;
}

/* Count what happened and is not told. */
static __always_inline void leave_out(u32 kind)
{
	u32 zero = 0;
	struct stats *counted = bpf_map_lookup_elem(&stats, &zero);
	if (!counted || kind >= KINDS)
		return;
	counted->seen[kind]++;
	counted->filtered[kind]++;
}

/* The process that a task belongs to, and the one that made it. */
static __always_inline void identify(struct header *header, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
	header->time_ns = bpf_ktime_get_boot_ns();
	header->pid = BPF_CORE_READ(task, tgid);
	header->start_ns = BPF_CORE_READ(leader, start_boottime);
	header->ppid = BPF_CORE_READ(parent, tgid);
	header->parent_start_ns = BPF_CORE_READ(parent, start_boottime);
}
