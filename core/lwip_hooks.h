/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions that lwIP calls through its hooks. */
#ifndef LWR_LWIP_HOOKS_H
#define LWR_LWIP_HOOKS_H

#include "lwip/ip_addr.h"

/* Initial sequence number (RFC 6528). */
u32_t lwr__tcp_isn(const ip_addr_t *local_ip, u16_t local_port,
		   const ip_addr_t *remote_ip, u16_t remote_port);

#endif
