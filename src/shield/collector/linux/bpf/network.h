/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the records about the network have in common: the two ends, and the process that owns this one.
 *
 * Record layout (mirrored in ../network_record.py): struct header, then struct network, then for a question or an
 * answer the bytes of the DNS message. An IPv4 address is the first four bytes of its field. Ports are in host order.
 */
#pragma once

#include "record.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10

/* Waking the reader costs more than the record: a burst is told in one go, the first of it at once. */
#define WAKE_EVERY_NS 10000000

struct address { u8 bytes[16]; };

struct network {
	struct address local, remote;
	u16 local_port, remote_port;
	u16 family, protocol;
	u32 namespace;
	u32 length;
	u64 since_ns;
	u64 sent, received;
	u64 inode;
};

struct told { struct header header; struct network network; };

/* A process, as a map remembers it. */
struct owner { u64 start_ns; u32 pid; u32 flags; };

u64 woken_ns;

static __always_inline u64 waking(u64 now)
{
	if (now - woken_ns < WAKE_EVERY_NS)
		return BPF_RB_NO_WAKEUP;
	woken_ns = now;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void current_owner(struct owner *owner)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	owner->pid = bpf_get_current_pid_tgid() >> 32;
	owner->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
}

static __always_inline void begin(struct told *told, u32 kind, const struct owner *owner)
{
	told->header.kind = kind;
	told->header.flags = owner->flags;
	told->header.time_ns = bpf_ktime_get_boot_ns();
	told->header.start_ns = owner->start_ns;
	told->header.pid = owner->pid;
}

/* The number of a socket's file, which no other has had since boot; 0 for one that nobody holds. */
static __always_inline u64 socket_inode(const struct sock *sk)
{
	return sk->sk_socket->file->f_inode->i_ino;
}

static __always_inline void describe_ends(struct network *network, const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;

	network->family = common->skc_family;
	network->protocol = sk->sk_protocol;
	/* Not skc_num: a socket that is being closed has given that back already. */
	network->local_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	network->remote_port = bpf_ntohs(common->skc_dport);
	network->namespace = common->skc_net.net->ns.inum;
	network->inode = socket_inode(sk);
	if (network->family == AF_INET) {
		__builtin_memcpy(&network->local, (void *)&(u32){ common->skc_rcv_saddr }, 4);
		__builtin_memcpy(&network->remote, (void *)&(u32){ common->skc_daddr }, 4);
	} else {
		bpf_core_read(&network->local, 16, &common->skc_v6_rcv_saddr);
		bpf_core_read(&network->remote, 16, &common->skc_v6_daddr);
	}
}
