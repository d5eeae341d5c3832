// SPDX-License-Identifier: Apache-2.0

// Lets simulations set the time that OpenSSL's DTLS timer sees.
//
// OpenSSL reads the wall clock with gettimeofday and has no hook for it. This target defines gettimeofday for the
// whole program: while a thread has set a time it gets that time, otherwise the kernel's. Only test products link it.
#ifndef CVIRTUALCLOCK_H
#define CVIRTUALCLOCK_H

#include <stdint.h>

/// Makes gettimeofday return this time on the calling thread: nanoseconds, 0 or more, of any origin.
void cvc_set_time(int64_t nanoseconds);

/// Gives the calling thread the kernel's clock back.
void cvc_clear_time(void);

#endif
