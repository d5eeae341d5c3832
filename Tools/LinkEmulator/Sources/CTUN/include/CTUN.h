// SPDX-License-Identifier: Apache-2.0
// What the link emulator needs of Linux and cannot say in Swift: calls with variable arguments and their structures.
#ifndef CTUN_H
#define CTUN_H

#include <stdint.h>

/// Opens the TUN device `name` (plain IP packets, not blocking), makes it if it does not exist, gives it `mtu` and takes
/// it up. `network_namespace` is the path of a namespace (NULL: the caller's own); the calling thread is back in its own
/// afterwards. Returns the descriptor, or -1 with errno set and `*failed_call` naming the call.
int ctun_open(const char *network_namespace, const char *name, int mtu, const char **failed_call);

/// Blocks SIGINT, SIGTERM and SIGUSR1 and returns a descriptor that tells of them (not blocking), or -1.
int ctun_open_signals(void);

/// The number of the next signal that came, or 0.
int ctun_next_signal(int descriptor);

/// Waits until one of `count` (at most 8) descriptors is readable, or `nanoseconds` have passed (negative: no limit).
/// Returns the readable ones, a bit each; -1 among the descriptors stands for none.
unsigned ctun_wait(const int *descriptors, int count, int64_t nanoseconds);

/// Lets this thread wake up within a microsecond of its time instead of the usual fifty.
void ctun_be_punctual(void);

#endif
