/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * TCP: who connects, who listens, who is connected to, and what it came to in the end.
 *
 * All of it hangs on the socket's state. connect() and listen() change it in the process that calls them; everything
 * later may happen on behalf of anybody, so `connections` and `listeners` remember whose socket it is. A connection is
 * told when its first packet leaves (sending.h sees that), because only then the kernel has chosen the local port.
 */
#pragma once

#include "network.h"

#define CONNECTIONS_MAX 32768
#define LISTENERS_MAX 8192
#define SOCK_DONE 1 /* the peer's end of the stream was received; it counts as one byte */

struct connection { struct owner owner; u64 since_ns; u32 told; u32 unused; };
struct listener_key { struct address local; u32 namespace; u16 port, family; };
struct listener { struct owner owner; u64 sockets; };

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, CONNECTIONS_MAX); __type(key, u64);
	 __type(value, struct connection); } connections SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, LISTENERS_MAX); __type(key, struct listener_key);
	 __type(value, struct listener); } listeners SEC(".maps");

static __always_inline void listener_key(struct listener_key *key, const struct network *network)
{
	key->local = network->local;
	key->namespace = network->namespace;
	key->port = network->local_port;
	key->family = network->family;
}

/*
 * The listener at `key`: of this address, else of any, as the kernel chooses it. Whoever listens without having bound is
 * given a port only after that was seen, so is kept under none.
 */
static __always_inline struct listener *find_listener(struct listener_key *key)
{
	struct listener *found = bpf_map_lookup_elem(&listeners, key);

	if (found)
		return found;
	__builtin_memset(&key->local, 0, sizeof(key->local));
	found = bpf_map_lookup_elem(&listeners, key);
	if (found)
		return found;
	key->port = 0;
	return bpf_map_lookup_elem(&listeners, key);
}

static __always_inline void tell_connection(const struct sock *sk, struct connection *connection)
{
	u32 kind = connection->owner.flags & FLAG_INBOUND ? KIND_ACCEPT : KIND_CONNECT;
	struct told told = {};

	if (connection->told)
		return;
	connection->told = 1;
	begin(&told, kind, &connection->owner);
	describe_ends(&told.network, sk);
	deliver(&told, sizeof(told), kind, waking(told.header.time_ns));
}

static __always_inline void connecting(const struct sock *sk, u64 key)
{
	struct connection connection = { .since_ns = bpf_ktime_get_boot_ns() };

	current_owner(&connection.owner);
	bpf_map_update_elem(&connections, &key, &connection, BPF_ANY);
}

static __always_inline void listening(const struct sock *sk)
{
	struct listener listener = { .sockets = 1 }, *known;
	struct listener_key key = {};
	struct told told = {};

	current_owner(&listener.owner);
	begin(&told, KIND_LISTEN, &listener.owner);
	describe_ends(&told.network, sk);
	listener_key(&key, &told.network);
	known = bpf_map_lookup_elem(&listeners, &key);
	if (known) { /* SO_REUSEPORT: whoever accepts is one of them */
		known->sockets++;
		if (known->owner.pid != listener.owner.pid || known->owner.start_ns != listener.owner.start_ns)
			known->owner.flags |= FLAG_SHARED;
	} else {
		bpf_map_update_elem(&listeners, &key, &listener, BPF_ANY);
	}
	deliver(&told, sizeof(told), KIND_LISTEN, waking(told.header.time_ns));
}

static __always_inline void listened(const struct sock *sk)
{
	struct network network = {};
	struct listener_key key = {};
	struct listener *known;

	describe_ends(&network, sk);
	listener_key(&key, &network);
	known = find_listener(&key);
	if (known && known->sockets > 1)
		known->sockets--;
	else
		bpf_map_delete_elem(&listeners, &key);
}

/* A new socket, made for a peer: its address and port lead to the one that listens. */
static __always_inline void arrived(const struct sock *sk, u64 key)
{
	struct connection connection = { .since_ns = bpf_ktime_get_boot_ns(), .owner.flags = FLAG_INBOUND };
	struct network network = {};
	struct listener_key at = {};
	struct listener *listener;

	describe_ends(&network, sk);
	listener_key(&at, &network);
	listener = find_listener(&at);
	if (listener && listener->owner.flags & FLAG_SHARED) {
		connection.owner.flags |= FLAG_SHARED;
	} else if (listener) {
		connection.owner.pid = listener->owner.pid;
		connection.owner.start_ns = listener->owner.start_ns;
	}
	bpf_map_update_elem(&connections, &key, &connection, BPF_ANY);
}

static __always_inline void established(const struct sock *sk, u64 key)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);

	if (!connection)
		return;
	connection->owner.flags |= FLAG_ESTABLISHED;
	tell_connection(sk, connection);
}

static __always_inline void closed(const struct sock *sk, u64 key, int before)
{
	struct connection *connection = bpf_map_lookup_elem(&connections, &key);
	const struct tcp_sock *tcp = (const void *)sk;
	struct told told = {};

	if (before == TCP_LISTEN) {
		listened(sk);
		return;
	}
	if (!connection) {
		if (before != TCP_CLOSE)
			leave_out(KIND_CLOSE); /* opened before this program was loaded, or too many ago */
		return;
	}
	if (connection->owner.flags & FLAG_INBOUND && !connection->told) { /* never came to be */
		bpf_map_delete_elem(&connections, &key);
		return;
	}
	begin(&told, KIND_CLOSE, &connection->owner);
	describe_ends(&told.network, sk);
	told.network.since_ns = connection->since_ns;
	told.network.sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
	told.network.received = BPF_CORE_READ(tcp, bytes_received);
	if (told.network.received && sk->__sk_common.skc_flags & (1 << SOCK_DONE))
		told.network.received--;
	bpf_map_delete_elem(&connections, &key);
	deliver(&told, sizeof(told), KIND_CLOSE, BPF_RB_NO_WAKEUP);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, const struct sock *sk, int before, int after)
{
	u64 key = (u64)sk;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (after == TCP_SYN_SENT)
		connecting(sk, key);
	else if (after == TCP_LISTEN)
		listening(sk);
	else if (after == TCP_SYN_RECV && before == TCP_LISTEN)
		arrived(sk, key);
	else if (after == TCP_ESTABLISHED)
		established(sk, key);
	else if (after == TCP_CLOSE)
		closed(sk, key, before);
	return 0;
}
