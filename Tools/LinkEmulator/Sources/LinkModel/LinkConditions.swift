// SPDX-License-Identifier: Apache-2.0

/// Times and durations, in nanoseconds. A point in time counts from whenever the emulator began.
public typealias Nanoseconds = Int64

/// What one direction of a link does to its packets, in the order in which it happens: the packet waits for the
/// bottleneck (`queueLimit`), passes it (`rateBitsPerSecond`), may get lost, travels (`delay`, `jitter`), and may be
/// held back or doubled on the way.
public struct LinkConditions: Equatable, Sendable {
  /// How long a packet travels.
  public var delay: Nanoseconds = 0
  /// By how much the travel varies: uniformly within plus or minus this. Packets never overtake for it, as on a real
  /// path, where a late packet holds up those behind it.
  public var jitter: Nanoseconds = 0
  /// Which packets are lost after the bottleneck.
  public var loss: LossPattern = .random(0)
  /// The share of packets that are held back, so that later ones overtake them.
  public var reordering = 0.0
  /// For how long those are held back.
  public var reorderingDelay: Nanoseconds = 20_000_000
  /// The share of packets that arrive twice.
  public var duplication = 0.0
  /// What the bottleneck passes, counted in bytes of IP packets; nil for no bottleneck.
  public var rateBitsPerSecond: Int64?
  /// What may wait for the bottleneck; whatever comes on top is dropped.
  public var queueLimit = QueueLimit.duration(200_000_000)

  /// A perfect link.
  public init() {}

  /// The queue's limit in bytes at the present rate.
  var queueBytesMax: Int64 {
    switch queueLimit {
    case .bytes(let count): count
    case .duration(let time): Int64(Double(rateBitsPerSecond ?? 0) / 8 * Double(time) / 1e9)
    }
  }
}

/// A bound on what waits for a bottleneck.
public enum QueueLimit: Equatable, Sendable {
  /// Bytes of IP packets.
  case bytes(Int64)
  /// What the bottleneck passes in this time.
  case duration(Nanoseconds)
}
