/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every counter of the relay, in one table: it makes the struct, the JSON
 * names and the help. Counters of a link are also summed over the relay.
 */
#ifndef LWR_CORE_STATS_H
#define LWR_CORE_STATS_H

#include <stdint.h>

/* X(field, "what it counts") */
#define LWR_STATS(X)                                                           \
	X(frames_g2h, "frames taken from the guest")                           \
	X(bytes_g2h, "bytes of those frames, Ethernet header included")        \
	X(frames_h2g, "frames given to the guest")                             \
	X(bytes_h2g, "bytes of those frames, Ethernet header included")        \
	X(drop_short, "guest frames shorter than their headers say")           \
	X(drop_ethertype, "guest frames of an unknown EtherType or VLAN")      \
	X(drop_malformed, "guest packets with impossible header fields")       \
	X(drop_checksum, "guest packets with a wrong checksum")                \
	X(drop_proto, "guest packets of an unsupported protocol")              \
	X(drop_fragment, "guest fragments that were not reassembled")          \
	X(reassembled, "guest packets put together from fragments")            \
	X(drop_ttl, "guest packets whose TTL ended at the gateway")            \
	X(drop_source, "guest packets from an address that cannot be its own") \
	X(drop_dest, "guest packets to an address that is not relayed")        \
	X(drop_memory, "guest packets dropped because memory ran out")         \
	X(drop_ring_full, "frames to the guest dropped at a full ring")        \
	X(drop_link_refused, "frames that the guest's interface did not take") \
	X(drop_framing, "clients ended because of an impossible frame length") \
	X(tcp_opened, "TCP flows established")                                 \
	X(tcp_refused, "TCP connects that the host refused or reset")          \
	X(tcp_unreachable, "TCP connects that failed as unreachable")          \
	X(tcp_timeout, "TCP connects without an answer in time")               \
	X(tcp_limited, "TCP connects refused at a limit")                      \
	X(tcp_denied, "TCP connects refused by policy")                        \
	X(tcp_reset_guest, "TCP flows reset by the guest")                     \
	X(tcp_reset_host, "TCP flows reset by the host side")                  \
	X(tcp_vanished, "TCP flows ended because the guest did not answer")    \
	X(tcp_pending, "TCP connects in progress now")                         \
	X(tcp_live, "TCP flows established now")                               \
	X(udp_opened, "UDP flows opened")                                      \
	X(udp_limited, "UDP flows evicted or refused at a limit")              \
	X(udp_denied, "UDP datagrams refused by policy")                       \
	X(udp_live, "UDP flows open now")                                      \
	X(udp_full, "datagrams dropped at a full host socket")                 \
	X(push_full, "times that a guest's thread found its ring full")        \
	X(echo_opened, "echo flows to external hosts opened")                  \
	X(echo_limited, "echo flows evicted or refused at a limit")            \
	X(echo_denied, "echo requests refused by policy")                      \
	X(echo_live, "echo flows open now")                                    \
	X(dns_queries, "DNS queries taken from the guest")                     \
	X(dns_local, "of these, answered by names of the relay")               \
	X(dns_cached, "of these, answered from the cache")                     \
	X(dns_failed, "of these, answered SERVFAIL: no resolver did")          \
	X(dns_limited, "of these, dropped or refused at a limit")              \
	X(dns_tcp, "DNS connections over TCP")                                 \
	X(dns_pending, "DNS queries in progress now")                          \
	X(icmp_sent, "ICMP and ICMPv6 errors sent to the guest")               \
	X(icmp_limited, "the same, not sent because they were too many")       \
	X(dhcp_acks, "DHCP leases granted or renewed, of both families")       \
	X(dhcp_refused, "DHCP requests that got no address")                   \
	X(dhcp_declined, "addresses that a guest found to be taken")           \
	X(drop_size, "guest frames too short or too long, dropped")            \
	X(publish_clients, "TCP clients of published ports accepted")          \
	X(publish_opened, "of those, connected to the guest")                  \
	X(publish_refused, "of those, refused by the guest")                   \
	X(publish_timeout, "of those, without an answer of the guest in time") \
	X(publish_udp_opened, "UDP clients of published ports")                \
	X(publish_udp_live, "UDP clients of published ports now")

struct lwr_stats {
#define LWR_STATS_FIELD(name, help) uint64_t name;
	LWR_STATS(LWR_STATS_FIELD)
#undef LWR_STATS_FIELD
};

#endif
