// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import NIOCore
import SansIO

extension ServiceTime {
  /// What the system's clocks show.
  static var systemNow: ServiceTime {
    ServiceTime(
      instant: Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)),
      unixMilliseconds: Int64(Date().timeIntervalSince1970 * 1000))
  }
}
