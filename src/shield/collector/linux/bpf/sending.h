/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What leaves: the first packet of a TCP connection, UDP, and DNS questions.
 *
 * A process's first datagram to a destination is told, and once a minute what has gone there since; the rest are only
 * counted in `flows`. A socket that receives before it sends is a server's: it is told as listening, and what it sends
 * are answers to the one who asked.
 */
#pragma once

#include "dns.h"
#include "tcp.h"

#define FLOWS_MAX 16384
#define DATAGRAM_SOCKETS_MAX 8192
#define UNCLAIMED_MAX 256
#define FLOW_TOLD_EVERY_NS 60000000000ULL
/* Peers of servers that are told in a second: anybody can forge many. */
#define PEERS_A_SECOND 1000

#ifdef __TARGET_ARCH_arm64
#define STACK_BYTES (1 << 16)
#else
#define STACK_BYTES (1 << 14)
#endif

/* Whose a socket is. Its place in memory is soon another's, so its file's number says whether it is still the same. */
struct datagram_socket { struct owner owner; u64 inode; };
struct flow_key { u64 start_ns; struct address remote; u32 pid; u32 namespace; u16 port; u16 family; u32 inbound; };
struct flow { u64 since_ns; u64 sent; u64 datagrams; };
/* A datagram that left before its sender's call returned, but not on its behalf; what it asked, if it is a question. */
struct unclaimed { struct told told; u64 bytes; struct question_key question; };

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, DATAGRAM_SOCKETS_MAX); __type(key, u64);
	 __type(value, struct datagram_socket); } datagram_sockets SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, FLOWS_MAX); __type(key, struct flow_key);
	 __type(value, struct flow); } flows SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, UNCLAIMED_MAX); __type(key, u64);
	 __type(value, struct unclaimed); } unclaimed SEC(".maps");
u64 peers_second, peers_told;

/*
 * Whether this runs for an interrupt, so that the current process has nothing to do with it: interrupts have stacks of
 * their own, and `ctx` lies on the one that is in use. It goes through a map because the verifier compares no pointers.
 */
static __always_inline int interrupting(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u64 stack = (u64)BPF_CORE_READ(task, stack);
	u32 zero = 0;
	struct message *spare = bpf_map_lookup_elem(&message, &zero);

	if (!spare)
		return 0;
	spare->context = (u64)ctx;
	barrier_var(spare);
	return *(volatile u64 *)&spare->context - stack >= STACK_BYTES;
}

/*
 * Whose datagram this is. One that waited for its neighbour's address leaves when the answer is handled, on behalf of
 * whoever runs then: mostly after the call that sent it, and so after `on_sent`, but before where the neighbour is on
 * this host. Nobody is the owner then.
 */
static __always_inline void sender(struct owner *owner, const struct sock *sk, void *ctx)
{
	struct datagram_socket first = { .inode = socket_inode(sk) }, *known;
	u64 key = (u64)sk;

	known = bpf_map_lookup_elem(&datagram_sockets, &key);
	if (interrupting(ctx)) {
		if (known)
			*owner = known->owner;
	} else {
		current_owner(owner);
		if (known && known->inode == first.inode) {
			owner->flags = known->owner.flags;
		} else {
			first.owner = *owner;
			bpf_map_update_elem(&datagram_sockets, &key, &first, BPF_ANY);
		}
	}
	if (!sees_receiving)
		owner->flags |= FLAG_UNDIRECTED;
}

static __always_inline int too_many_peers(u64 now)
{
	if (now - peers_second > 1000000000) {
		peers_second = now;
		peers_told = 0;
	}
	return ++peers_told > PEERS_A_SECOND;
}

static __always_inline void describe_packet(struct told *told, const struct sock *sk, const struct packet *seen)
{
	told->network.local = seen->source;
	told->network.remote = seen->destination;
	told->network.local_port = seen->source_port;
	told->network.remote_port = seen->destination_port;
	told->network.family = seen->family;
	told->network.protocol = seen->protocol;
	told->network.namespace = sk->__sk_common.skc_net.net->ns.inum;
}

/* Tell of a datagram unless the last record about its flow is fresh. */
static __always_inline void tell_flow(struct told *told, u64 bytes)
{
	struct flow_key key = { .start_ns = told->header.start_ns, .pid = told->header.pid };
	struct flow first = { .since_ns = told->header.time_ns, .sent = bytes, .datagrams = 1 }, *flow;

	key.remote = told->network.remote;
	key.namespace = told->network.namespace;
	key.family = told->network.family;
	key.inbound = told->header.flags & FLAG_INBOUND;
	key.port = key.inbound ? told->network.local_port : told->network.remote_port;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow) {
		bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (key.inbound && too_many_peers(told->header.time_ns)) {
			leave_out(KIND_DATAGRAM);
			return;
		}
		deliver(told, sizeof(*told), KIND_DATAGRAM, waking(told->header.time_ns));
		return;
	}
	__sync_fetch_and_add(&flow->sent, bytes);
	__sync_fetch_and_add(&flow->datagrams, 1);
	if (told->header.time_ns - flow->since_ns < FLOW_TOLD_EVERY_NS)
		return;
	told->network.since_ns = flow->since_ns;
	told->network.sent = flow->sent;
	flow->since_ns = told->header.time_ns;
	flow->sent = flow->datagrams = 0;
	deliver(told, sizeof(*told), KIND_DATAGRAM, BPF_RB_NO_WAKEUP);
}

/* The call that sent a datagram returns, in the process that made it. */
static __always_inline void claim(u64 key, const struct owner *owner)
{
	struct unclaimed *left = bpf_map_lookup_elem(&unclaimed, &key);
	struct question *question;
	struct told told;

	if (!left)
		return;
	told = left->told;
	told.header.start_ns = owner->start_ns;
	told.header.pid = owner->pid;
	tell_flow(&told, left->bytes);
	question = bpf_map_lookup_elem(&questions, &left->question);
	if (question)
		question->owner = *owner;
	bpf_map_delete_elem(&unclaimed, &key);
}

static __always_inline void datagram_sent(struct sk_buff *skb, const struct sock *sk, void *ctx, int whole)
{
	struct unclaimed left = {};
	struct packet seen = {};
	struct owner owner = {};
	u64 key = (u64)sk;

	/* A tunnel's packet carries the socket of what it wraps: the ports differ. */
	if (!parse(&seen, skb, skb->head + skb->network_header, 0) || seen.source_port != sk->__sk_common.skc_num)
		return;
	sender(&owner, sk, ctx);
	begin(&left.told, KIND_DATAGRAM, &owner);
	describe_packet(&left.told, sk, &seen);
	left.bytes = seen.length;
	if (seen.destination_port == DNS_PORT) {
		asked(&left.told, &owner, skb, &seen, &left.question, whole);
		left.told.header.kind = KIND_DATAGRAM;
		left.told.network.length = 0;
	}
	if (!owner.pid && sees_receiving && socket_inode(sk))
		bpf_map_update_elem(&unclaimed, &key, &left, BPF_ANY);
	else
		tell_flow(&left.told, seen.length);
}

static __always_inline void segment_sent(struct sk_buff *skb, const struct sock *sk)
{
	struct connection *connection;
	struct question_key question = {};
	struct packet seen = {};
	struct owner owner = {};
	struct told told = {};
	u64 key = (u64)sk;

	if (!parse(&seen, skb, skb->head + skb->network_header, 1) || seen.source_port != sk->__sk_common.skc_num)
		return;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection) {
		owner.pid = connection->owner.pid;
		owner.start_ns = connection->owner.start_ns;
	}
	begin(&told, KIND_QUESTION, &owner);
	describe_packet(&told, sk, &seen);
	asked(&told, &owner, skb, &seen, &question, 1);
}

static __always_inline int sending(void *ctx, struct sk_buff *skb, int whole)
{
	const struct sock *sk = skb->sk;
	const struct sock_common *common = &sk->__sk_common;
	struct connection *connection;
	u64 key = (u64)sk;

	if (!sk || (common->skc_family != AF_INET && common->skc_family != AF_INET6))
		return 0;
	if (common->skc_state == TCP_SYN_SENT) {
		connection = bpf_map_lookup_elem(&connections, &key);
		if (connection)
			tell_connection(sk, connection);
		return 0;
	}
	if (common->skc_state != TCP_CLOSE && common->skc_state != TCP_ESTABLISHED)
		return 0; /* one that is not, or no longer, whole has no protocol either */
	if (sk->sk_protocol == IPPROTO_UDP)
		datagram_sent(skb, sk, ctx, whole);
	else if (whole && sk->sk_protocol == IPPROTO_TCP && common->skc_dport == bpf_htons(DNS_PORT))
		segment_sent(skb, sk);
	return 0;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(on_send, struct sk_buff *skb)
{
	return sending(ctx, skb, 0);
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(on_send_whole, struct sk_buff *skb)
{
	return sending(ctx, skb, 1);
}

/* A socket is used in the process that holds it: the first use says whose it is, and what it is for. */
static __always_inline void used(const struct sock *sk, u32 flags)
{
	struct datagram_socket first = {}, *known;
	struct told told = {};
	u64 key = (u64)sk;

	if (sk->sk_protocol != IPPROTO_UDP || !sk->__sk_common.skc_num)
		return;
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6)
		return;
	first.inode = socket_inode(sk);
	known = bpf_map_lookup_elem(&datagram_sockets, &key);
	if (known && known->inode == first.inode)
		return;
	current_owner(&first.owner);
	first.owner.flags = sk->__sk_common.skc_dport ? 0 : flags;
	bpf_map_update_elem(&datagram_sockets, &key, &first, BPF_ANY);
	claim(key, &first.owner);
	if (!first.owner.flags)
		return;
	begin(&told, KIND_LISTEN, &first.owner);
	describe_ends(&told.network, sk);
	deliver(&told, sizeof(told), KIND_LISTEN, waking(told.header.time_ns));
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, const struct sock *sk, int length, int flags)
{
	used(sk, FLAG_INBOUND);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_sent, const struct sock *sk, int length, int flags)
{
	used(sk, 0);
	return 0;
}
