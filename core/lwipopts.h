/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lwIP as the relay wants it: TCP only, raw API, no threads, no timers of its
 * own. Ethernet, IP input, ARP, NDP, UDP and ICMP are the relay's.
 */
#ifndef LWR_LWIPOPTS_H
#define LWR_LWIPOPTS_H

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_STATS 0

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_ND6_QUEUEING 0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define IP_FRAG 0
#define IP_REASSEMBLY 0
#define LWIP_ARP 0
#define LWIP_ICMP 0
#define LWIP_RAW 0
#define LWIP_UDP 0

/* The C library's allocator: last-in first-out, and bounded by our limits. */
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_SIZE_T size_t
#define LWIP_SUPPORT_CUSTOM_PBUF 1

/*
 * 64 KiB segments: lwIP's MSS is raised to a multiple of the guest's after
 * the handshake and the link cuts the segments (core/stack_conn.c).
 */
#define TCP_MSS 65495
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (4 * 1024 * 1024)
#define TCP_SND_BUF (2 * 1024 * 1024)
#define TCP_SND_QUEUELEN 2048
#define TCP_SNDQUEUELOWAT 1024
#define TCP_SNDLOWAT (TCP_SND_BUF / 2)
/* lwr__conn_credit() decides on window updates. */
#define TCP_WND_UPDATE_THRESHOLD TCP_WND
#define LWIP_TCP_TIMESTAMPS 1
#define LWIP_TCP_SACK_OUT 1
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES TCP_WND
#define TCP_OOSEQ_MAX_PBUFS 256
#define TCP_OVERSIZE 0
#define TCP_LISTEN_BACKLOG 0
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

/* A tick of 100 ms: retransmission settles near 300 ms instead of 1.5 s. */
#define TCP_TMR_INTERVAL 50
#define LWIP_TCP_RTO_TIME 1000
/* A SYN is repeated each second; --connect-timeout ends that, or TCP_MAXRTX. */
#define TCP_SYNMAXRTX 12

/* Checksums are verified before lwIP and filled in after it, where needed. */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 0
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_GEN_TCP 0
#define CHECKSUM_GEN_IP 1
#define LWIP_CHKSUM lwr__lwip_chksum

#define LWIP_HOOK_FILENAME "lwip_hooks.h"
#define LWIP_HOOK_TCP_ISN lwr__tcp_isn

#include <stdint.h>
uint16_t lwr__lwip_chksum(const void *data, int len);

#endif
