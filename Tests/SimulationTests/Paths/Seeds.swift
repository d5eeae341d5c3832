// SPDX-License-Identifier: Apache-2.0

import Glibc

/// How many seeds tests run with: few in a normal run, many with KVS_LONG_TESTS=1 in the environment.
enum Seeds {
  static let isLongRun = getenv("KVS_LONG_TESTS").map { String(cString: $0) == "1" } ?? false
  /// For a matrix whose every cell is a call of its own.
  static let few: ClosedRange<UInt64> = 1...(isLongRun ? 20 : 1)
  /// For transfers over random links.
  static let data: ClosedRange<UInt64> = 1...(isLongRun ? 5_000 : 100)
  /// For random networks.
  static let many: ClosedRange<UInt64> = 1...(isLongRun ? 10_000 : 60)
}
