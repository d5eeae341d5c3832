// SPDX-License-Identifier: Apache-2.0

/// How often a core dropped something, by cause.
///
/// The causes are an `enum Cause: Int, CaseIterable` of the core with raw values from 0.
public struct DropCounters<Cause: CaseIterable & RawRepresentable & Sendable>: Sendable
where Cause.RawValue == Int {
  private var counts: [UInt64]

  /// Starts at 0 for every cause.
  public init() { counts = Array(repeating: 0, count: Cause.allCases.count) }

  /// How often this cause was seen.
  public subscript(cause: Cause) -> UInt64 {
    get { counts[cause.rawValue] }
    set { counts[cause.rawValue] = newValue }
  }

  /// How often anything was dropped.
  public var total: UInt64 { counts.reduce(0, &+) }

  /// The causes that were seen, with their counts.
  public var nonZero: [(cause: Cause, count: UInt64)] {
    Cause.allCases.compactMap { self[$0] == 0 ? nil : ($0, self[$0]) }
  }
}
