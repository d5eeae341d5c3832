// SPDX-License-Identifier: Apache-2.0

import SansIO

/// DTLS that arrived from an authenticated address before its pair was valid (threat T10).
///
/// The peer's first flight often overtakes our own check; dropping it would cost a retransmission timer. Nothing
/// of it reaches OpenSSL before the pair is valid.
struct HeldDatagrams {
  /// Datagrams held at most: one ClientHello in fragments.
  static let countMax = 4
  /// Bytes held at most.
  static let byteCountMax = 8192
  /// A datagram older than this is worthless: the peer has sent it again.
  static let ageMax = TimeDelta.seconds(1)

  private var held: [(route: Route, bytes: [UInt8], arrival: Instant)] = []

  var isEmpty: Bool { held.isEmpty }

  /// Keeps a copy, or returns false when there is no room.
  mutating func hold(_ datagram: RawSpan, on route: Route, at now: Instant) -> Bool {
    held.removeAll { now - $0.arrival > Self.ageMax }
    let byteCount = held.reduce(0) { $0 + $1.bytes.count }
    guard held.count < Self.countMax, byteCount + datagram.byteCount <= Self.byteCountMax else {
      return false
    }
    held.append((route, [UInt8](copying: datagram), now))
    return true
  }

  /// Takes out what is still fresh, in order of arrival, if `isValid` says so of its route.
  mutating func take(at now: Instant, where isValid: (Route) -> Bool) -> [(route: Route, bytes: [UInt8])] {
    guard !held.isEmpty else { return [] }
    held.removeAll { now - $0.arrival > Self.ageMax }
    let taken = held.filter { isValid($0.route) }.map { ($0.route, $0.bytes) }
    held.removeAll { isValid($0.route) }
    return taken
  }
}
