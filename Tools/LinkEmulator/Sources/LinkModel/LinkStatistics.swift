// SPDX-License-Identifier: Apache-2.0

/// What became of the packets of one direction.
public struct LinkStatistics: Equatable, Sendable {
  /// Packets that the link was given.
  public internal(set) var packetsReceived = 0
  /// Their bytes, IP headers included.
  public internal(set) var bytesReceived = 0
  /// Packets that came out at the other end, doubled ones twice.
  public internal(set) var packetsDelivered = 0
  /// Their bytes.
  public internal(set) var bytesDelivered = 0
  /// Packets dropped for the bottleneck's full queue.
  public internal(set) var queueDrops = 0
  /// Packets lost by the loss pattern.
  public internal(set) var losses = 0
  /// Packets held back to be overtaken.
  public internal(set) var reordered = 0
  /// Packets that were doubled.
  public internal(set) var duplicated = 0
  /// The most bytes that waited for the bottleneck at once.
  public internal(set) var queueBytesPeak = 0
  /// Packets refused because the emulator's own memory was full: the test asked for too much.
  public var overflows = 0
  /// Packets that the device at the other end did not take.
  public var writeFailures = 0
  /// The longest time by which a packet left later than the model said: the machine was busy.
  public var latenessPeak: Nanoseconds = 0

  /// No packet yet.
  public init() {}
}

extension LinkStatistics {
  /// One JSON object.
  public var json: String {
    """
    {"packetsReceived":\(packetsReceived),"bytesReceived":\(bytesReceived),\
    "packetsDelivered":\(packetsDelivered),"bytesDelivered":\(bytesDelivered),\
    "queueDrops":\(queueDrops),"losses":\(losses),"reordered":\(reordered),"duplicated":\(duplicated),\
    "queueBytesPeak":\(queueBytesPeak),"overflows":\(overflows),"writeFailures":\(writeFailures),\
    "latenessPeakMicroseconds":\(latenessPeak / 1_000)}
    """
  }
}
