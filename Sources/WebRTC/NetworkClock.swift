// SPDX-License-Identifier: Apache-2.0

import NIOCore
public import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The kernel's monotonic clock in the cores' terms, and where it stands on the wall.
///
/// The only place of this module that reads a clock; applications take their capture times from here.
public enum NetworkClock {
  /// Now, nanoseconds of the monotonic clock.
  public static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

  /// Unix time, in nanoseconds, at which the monotonic clock stood at zero: read once, so that a step of the
  /// wall clock does not tear the sender reports of a running connection.
  static let wallClockNanosecondsAtZero: Int64 = {
    var wall = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    return Int64(wall.tv_sec) * 1_000_000_000 + Int64(wall.tv_nsec) - now.nanoseconds
  }()
}

extension NIODeadline {
  /// The deadline of NIO's timers for an instant; instants before the clock's origin are now.
  init(_ instant: Instant) {
    self = .uptimeNanoseconds(UInt64(max(0, instant.nanoseconds)))
  }
}
