// SPDX-License-Identifier: Apache-2.0

#include "CVirtualClock.h"

#include <sys/time.h>
#include <time.h>

/// Seconds added to the virtual time, so that no instant is the 0 that OpenSSL takes for "no timer".
static const int64_t origin_seconds = 1000000000;

static _Thread_local int64_t virtual_nanoseconds = -1;

void cvc_set_time(int64_t nanoseconds) { virtual_nanoseconds = nanoseconds; }

void cvc_clear_time(void) { virtual_nanoseconds = -1; }

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  if (virtual_nanoseconds >= 0) {
    time->tv_sec = (time_t)(origin_seconds + virtual_nanoseconds / 1000000000);
    time->tv_usec = (suseconds_t)(virtual_nanoseconds % 1000000000 / 1000);
    return 0;
  }
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}
