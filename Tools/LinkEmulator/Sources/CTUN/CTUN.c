// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CTUN.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/// Packets that a device keeps while the emulator is not running: 50 ms at 1 Gbit/s. What comes on top the kernel drops,
/// and the model never hears of it.
enum { device_queue_packets = 4096 };

/// Sets MTU, queue and "up" of a device in the thread's namespace.
static int configure(const char *name, int mtu, const char **failed_call) {
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) {
    *failed_call = "socket";
    return -1;
  }
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_mtu = mtu;
  *failed_call = "SIOCSIFMTU";
  int result = ioctl(control, SIOCSIFMTU, &request);
  if (result == 0) {
    request.ifr_qlen = device_queue_packets;
    *failed_call = "SIOCSIFTXQLEN";
    result = ioctl(control, SIOCSIFTXQLEN, &request);
  }
  if (result == 0) {
    *failed_call = "SIOCGIFFLAGS";
    result = ioctl(control, SIOCGIFFLAGS, &request);
  }
  if (result == 0) {
    request.ifr_flags |= IFF_UP;
    *failed_call = "SIOCSIFFLAGS";
    result = ioctl(control, SIOCSIFFLAGS, &request);
  }
  int error = errno;
  close(control);
  errno = error;
  return result;
}

/// Opens the device in the thread's namespace.
static int open_here(const char *name, int mtu, const char **failed_call) {
  *failed_call = "open /dev/net/tun";
  int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return -1;
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  *failed_call = "TUNSETIFF";
  if (ioctl(descriptor, TUNSETIFF, &request) == 0 && configure(name, mtu, failed_call) == 0) return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

int ctun_open(const char *network_namespace, const char *name, int mtu, const char **failed_call) {
  if (network_namespace == NULL) return open_here(name, mtu, failed_call);
  *failed_call = "open the namespace";
  int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  int other = open(network_namespace, O_RDONLY | O_CLOEXEC);
  int descriptor = -1;
  if (own >= 0 && other >= 0) {
    *failed_call = "setns";
    if (setns(other, CLONE_NEWNET) == 0) {
      descriptor = open_here(name, mtu, failed_call);
      int error = errno;
      if (setns(own, CLONE_NEWNET) != 0 && descriptor >= 0) {
        *failed_call = "setns back";
        error = errno;
        close(descriptor);
        descriptor = -1;
      }
      errno = error;
    }
  }
  int error = errno;
  if (own >= 0) close(own);
  if (other >= 0) close(other);
  errno = error;
  return descriptor;
}

int ctun_open_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) return -1;
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

int ctun_next_signal(int descriptor) {
  struct signalfd_siginfo information;
  if (read(descriptor, &information, sizeof information) != (ssize_t)sizeof information) return 0;
  return (int)information.ssi_signo;
}

unsigned ctun_wait(const int *descriptors, int count, int64_t nanoseconds) {
  struct pollfd awaited[8];
  if (count > 8) count = 8;
  for (int i = 0; i < count; i++) awaited[i] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
  struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
  if (ppoll(awaited, (nfds_t)count, nanoseconds < 0 ? NULL : &limit, NULL) <= 0) return 0;
  unsigned readable = 0;
  for (int i = 0; i < count; i++)
    if (awaited[i].revents != 0) readable |= 1u << i;
  return readable;
}

void ctun_be_punctual(void) { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }
