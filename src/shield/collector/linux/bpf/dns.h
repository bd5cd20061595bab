/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * DNS: every question on port 53, and the first answer to it, wherever that is seen first.
 *
 * The messages are copied, not read. An answer that nobody asked for is left alone, so that no stranger can fill the
 * ring. Over TCP (RFC 1035, 4.2.2) a message has its length in front of it, and is seen if it begins a packet.
 */
#pragma once

#include "packet.h"

#define QUESTIONS_MAX 4096
#define QUESTION_AGAIN_NS 5000000000ULL

#define DNS_PORT 53
#define DNS_HEADER 12
#define DNS_MAX 4096
#define STREAM_PREFIX 2

struct question_key { struct address server; u16 port, id; u32 family; };
struct question { struct owner owner; u64 asked_ns; };
struct message { struct told told; u8 bytes[DNS_MAX]; u64 context; };

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, QUESTIONS_MAX); __type(key, struct question_key);
	 __type(value, struct question); } questions SEC(".maps");
/* Packets are handled with soft interrupts off, so one a CPU is enough. */
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, u32);
	 __type(value, struct message); } message SEC(".maps");

/* Return a record with the DNS message of a packet in it, NULL where there is none. Its `told` is still to be filled. */
static __always_inline struct message *message_in(struct sk_buff *skb, const struct packet *seen, int whole)
{
	u32 zero = 0, prefix = seen->protocol == IPPROTO_TCP ? STREAM_PREFIX : 0, length = seen->length;
	struct message *found = bpf_map_lookup_elem(&message, &zero);

	if (!found || length < prefix + DNS_HEADER)
		return NULL;
	length -= prefix;
	if (!whole && length > seen->in_front)
		length = seen->in_front;
	if (length > DNS_MAX - 1)
		length = DNS_MAX - 1;
	barrier_var(length); /* or the compiler sees that the mask changes nothing, which the verifier does not */
	length &= DNS_MAX - 1;
	if (length < DNS_HEADER || copy(found->bytes, skb, seen->at + prefix, length, whole))
		return NULL;
	found->told.network.length = length;
	return found;
}

static __always_inline void question_of(struct question_key *key, const struct message *message,
					const struct packet *seen, int answer)
{
	key->id = *(const u16 *)message->bytes;
	key->family = seen->family;
	key->server = answer ? seen->source : seen->destination;
	key->port = answer ? seen->destination_port : seen->source_port;
}

static __always_inline void tell_message(struct message *message, struct told *told, u32 kind)
{
	u32 length = message->told.network.length & (DNS_MAX - 1);

	told->header.kind = kind;
	told->network.length = length;
	message->told = *told;
	deliver(message, sizeof(struct told) + length, kind, waking(told->header.time_ns));
}

/* A question that is sent again, or crosses one more device, is the same question. */
static __always_inline void asked(struct told *told, const struct owner *owner, struct sk_buff *skb,
				  const struct packet *seen, struct question_key *key, int whole)
{
	struct question question = { .owner = *owner, .asked_ns = told->header.time_ns }, *known;
	struct message *found = message_in(skb, seen, whole);

	if (!found)
		return;
	question_of(key, found, seen, 0);
	known = bpf_map_lookup_elem(&questions, key);
	if (known && question.asked_ns - known->asked_ns < QUESTION_AGAIN_NS)
		return;
	bpf_map_update_elem(&questions, key, &question, BPF_ANY);
	tell_message(found, told, KIND_QUESTION);
}

static __always_inline void answered(struct sk_buff *skb, const struct packet *seen, int whole)
{
	struct message *found = message_in(skb, seen, whole);
	struct question_key key = {};
	struct question *question;
	struct told told = {};

	if (!found)
		return;
	question_of(&key, found, seen, 1);
	question = bpf_map_lookup_elem(&questions, &key);
	if (!question)
		return;
	begin(&told, KIND_ANSWER, &question->owner);
	told.network.since_ns = question->asked_ns;
	told.network.local = seen->destination;
	told.network.remote = seen->source;
	told.network.local_port = seen->destination_port;
	told.network.remote_port = seen->source_port;
	told.network.family = seen->family;
	told.network.protocol = seen->protocol;
	bpf_map_delete_elem(&questions, &key);
	tell_message(found, &told, KIND_ANSWER);
}

static __always_inline int receiving(struct sk_buff *skb, int whole)
{
	struct packet seen = {};

	if (parse(&seen, skb, skb->data, whole) && seen.source_port == DNS_PORT)
		answered(skb, &seen, whole);
	return 0;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(on_packet, struct sk_buff *skb)
{
	return receiving(skb, 0);
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(on_packet_whole, struct sk_buff *skb)
{
	return receiving(skb, 1);
}
