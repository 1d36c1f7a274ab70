/* SPDX-License-Identifier: BSD-3-Clause */
/* lwIP's compiler and platform glue. */
#ifndef LWR_ARCH_CC_H
#define LWR_ARCH_CC_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* A failed lwIP assertion is a bug of ours, never of the guest's doing. */
_Noreturn void lwr__assert_failed(const char *cond, const char *file, int line);

#define LWIP_PLATFORM_ASSERT(x) lwr__assert_failed(x, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(x) ((void)0)
#define LWIP_NO_STDINT_H 0
#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_RAND() lwr__lwip_rand()

uint32_t lwr__lwip_rand(void);

#endif
