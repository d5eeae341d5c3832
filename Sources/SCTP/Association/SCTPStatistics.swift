// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What an association did so far.
public struct SCTPStatistics: Hashable, Sendable {
  /// Whole messages that arrived.
  public internal(set) var messagesReceived: UInt64 = 0
  /// Their payload bytes.
  public internal(set) var bytesReceived: UInt64 = 0
  /// Packets that were written.
  public internal(set) var packetsSent: UInt64 = 0
  /// Packets that were accepted.
  public internal(set) var packetsReceived: UInt64 = 0
  /// Chunks that were sent again.
  public internal(set) var chunksRetransmitted: UInt64 = 0
  /// How often the retransmission timer ran out.
  public internal(set) var timeouts: UInt64 = 0
  /// Bytes that may be in flight at present.
  public internal(set) var congestionWindow = 0
  /// Bytes in flight at present.
  public internal(set) var bytesInFlight = 0
  /// Chunks of data that were sent and not acknowledged.
  public internal(set) var unacknowledgedChunks = 0
  /// Bytes that the peer's window leaves.
  public internal(set) var peerWindow = 0
  /// The present receive window, whether full or not.
  public internal(set) var receiveWindow = 0
  /// The smoothed round-trip time; `nil` before it was measured.
  public internal(set) var smoothedRoundTripTime: TimeDelta?
}

extension SCTPAssociation {
  /// What the association did so far, and how it stands.
  public var currentStatistics: SCTPStatistics {
    var result = statistics
    result.congestionWindow = congestion.window
    result.bytesInFlight = retransmissions.inFlightByteCount
    result.unacknowledgedChunks = retransmissions.count
    result.peerWindow = peerWindow
    result.receiveWindow = window.byteCount
    result.smoothedRoundTripTime = timeout.smoothed
    return result
  }
}
