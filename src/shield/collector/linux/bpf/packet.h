/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Packets: whose they are by their headers, and where their payload is.
 *
 * The payload of a packet may lie in pieces. Since Linux 6.12 a program may read it wherever it is (`whole`); before, it
 * is what lies in front, which for UDP is nearly always all, for TCP nothing.
 */
#pragma once

#include "network.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define IP_OFFSET 0x1FFF

struct iphdr { u8 version_and_words, tos; u16 length, id, offset; u8 ttl, protocol; u16 check; u32 source, destination; };
struct ipv6hdr { u32 flow; u16 length; u8 next, hops; struct address source, destination; };
struct udphdr { u16 source, destination, length, check; };
struct tcphdr { u16 source, destination; u32 number, acknowledged; u8 words, flags; };

/* The ends as they are on the wire; how long the payload is, where it begins in the packet, how much lies in front. */
struct packet { struct address source, destination; u16 family, protocol, source_port, destination_port;
		u32 length, at, in_front; };

extern int bpf_dynptr_from_skb(struct sk_buff *skb, u64 flags, struct bpf_dynptr *pointer) __ksym __weak;

static __always_inline int parse_ends(struct packet *found, struct sk_buff *skb, const u8 *ip)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr v4;

		if (bpf_probe_read_kernel(&v4, sizeof(v4), ip) || v4.offset & bpf_htons(IP_OFFSET))
			return 0;
		found->family = AF_INET;
		found->protocol = v4.protocol;
		__builtin_memcpy(&found->source, &v4.source, 4);
		__builtin_memcpy(&found->destination, &v4.destination, 4);
		return (v4.version_and_words & 15) * 4;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr v6;

		if (bpf_probe_read_kernel(&v6, sizeof(v6), ip))
			return 0;
		found->family = AF_INET6;
		found->protocol = v6.next;
		found->source = v6.source;
		found->destination = v6.destination;
		return sizeof(v6);
	}
	return 0;
}

static __always_inline int parse(struct packet *found, struct sk_buff *skb, const u8 *ip, int streams)
{
	u32 begin = ip - skb->data, in_front = skb->len - skb->data_len, before = parse_ends(found, skb, ip);
	struct udphdr udp;
	struct tcphdr tcp;

	if (!before)
		return 0;
	if (found->protocol == IPPROTO_UDP) {
		if (bpf_probe_read_kernel(&udp, sizeof(udp), ip + before))
			return 0;
		found->source_port = bpf_ntohs(udp.source);
		found->destination_port = bpf_ntohs(udp.destination);
		found->at = begin + before + sizeof(udp);
		found->length = bpf_ntohs(udp.length) - sizeof(udp);
	} else if (streams && found->protocol == IPPROTO_TCP) {
		if (bpf_probe_read_kernel(&tcp, sizeof(tcp), ip + before))
			return 0;
		found->source_port = bpf_ntohs(tcp.source);
		found->destination_port = bpf_ntohs(tcp.destination);
		found->at = begin + before + (tcp.words >> 4) * 4;
		found->length = skb->len > found->at ? skb->len - found->at : 0;
	} else {
		return 0;
	}
	found->in_front = in_front > found->at ? in_front - found->at : 0;
	return 1;
}

/* Copy `length` bytes of a packet; return 0 if that was done. */
static __always_inline long copy(void *to, struct sk_buff *skb, u32 at, u32 length, int whole)
{
	struct bpf_dynptr pointer;

	if (!whole)
		return bpf_probe_read_kernel(to, length, skb->data + at);
	return bpf_dynptr_from_skb(skb, 0, &pointer) ?: bpf_dynptr_read(to, length, &pointer, at, 0);
}
