/* SPDX-License-Identifier: BSD-3-Clause */
/* DHCPv6 messages (RFC 8415): between relay/dhcp6*.c. */
#ifndef LWR_RELAY_DHCP6_H
#define LWR_RELAY_DHCP6_H

#include "core/addr.h"
#include "core/pkt.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LWR_DHCP6_SOLICIT = 1,
	LWR_DHCP6_ADVERTISE,
	LWR_DHCP6_REQUEST,
	LWR_DHCP6_CONFIRM,
	LWR_DHCP6_RENEW,
	LWR_DHCP6_REBIND,
	LWR_DHCP6_REPLY,
	LWR_DHCP6_RELEASE,
	LWR_DHCP6_DECLINE,
	LWR_DHCP6_RECONFIGURE,
	LWR_DHCP6_INFORMATION_REQUEST,
};

enum {
	LWR_DHCP6_OPT_CLIENT = 1,
	LWR_DHCP6_OPT_SERVER = 2,
	LWR_DHCP6_OPT_IA_NA = 3,
	LWR_DHCP6_OPT_IA_TA = 4,
	LWR_DHCP6_OPT_ADDR = 5,
	LWR_DHCP6_OPT_LIST = 6,
	LWR_DHCP6_OPT_PREFERENCE = 7,
	LWR_DHCP6_OPT_STATUS = 13,
	LWR_DHCP6_OPT_RAPID = 14,
	LWR_DHCP6_OPT_DNS = 23,
	LWR_DHCP6_OPT_SEARCH = 24,
	LWR_DHCP6_OPT_IA_PD = 25,
	LWR_DHCP6_OPT_FQDN = 39,
};

enum {
	LWR_DHCP6_SUCCESS = 0,
	LWR_DHCP6_NO_ADDRS = 2,
	LWR_DHCP6_NO_BINDING = 3,
	LWR_DHCP6_NOT_ON_LINK = 4,
	LWR_DHCP6_USE_MULTICAST = 5,
	LWR_DHCP6_NO_PREFIX = 6,
};

enum {
	LWR_DHCP6_DUID_MAX = 130, /* RFC 8415 11.1 */
	LWR_DHCP6_IAS_MAX = 4, /* of one message; more are not answered */
	LWR_DHCP6_ADDRS_MAX = 4, /* of one IA; the same */
	LWR_DHCP6_NAME_MAX = 128,
};

/* An address that an IA names, or is answered with. */
struct lwr_dhcp6_addr {
	struct lwr_addr addr;
	bool valid; /* in an answer; else its lifetimes are 0 */
};

struct lwr_dhcp6_ia {
	uint16_t kind; /* LWR_DHCP6_OPT_IA_* */
	uint32_t iaid;
	unsigned addrs;
	struct lwr_dhcp6_addr addr[LWR_DHCP6_ADDRS_MAX + 1]; /* one is ours */
	uint16_t status; /* in an answer; SUCCESS is not said */
};

struct lwr_dhcp6_duid {
	uint8_t len; /* 0: the option is not there */
	uint8_t b[LWR_DHCP6_DUID_MAX];
};

/* What a client says. */
struct lwr_dhcp6_request {
	uint8_t type;
	uint8_t xid[3];
	struct lwr_dhcp6_duid client;
	struct lwr_dhcp6_duid server;
	bool rapid;
	bool wants_dns; /* by option 6, or it has none */
	bool wants_search;
	unsigned ias;
	struct lwr_dhcp6_ia ia[LWR_DHCP6_IAS_MAX];
	bool fqdn;
	uint8_t fqdn_flags;
	uint8_t fqdn_len;
	uint8_t fqdn_name[LWR_DHCP6_NAME_MAX];
};

/* Parses the UDP payload of a packet to port 547. False: not a valid request. */
bool lwr__dhcp6_parse(const struct lwr_pkt *pkt, struct lwr_dhcp6_request *r);

#endif
