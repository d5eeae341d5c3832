// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// Measures how fast the path delivers: bytes that arrived between two packets' acknowledgements, by the time that
/// passed (draft-ietf-ccwg-bbr §4.1, "delivery rate sampling").
///
/// Each packet remembers how much had arrived when it left. When it is acknowledged, what arrived since is divided
/// by the longer of the times in which those bytes were sent and in which they were acknowledged: so neither a burst
/// of ours nor acknowledgements that come bundled make the path seem faster than it is.
struct DeliveryRate {
  /// What the newest acknowledged packet says.
  struct Sample {
    /// Bytes per second; `nil` when the time is too short to tell.
    var bytesPerSecond: Double?
    /// Whether we had too little to send to fill the path meanwhile.
    var isFromDrySpell: Bool
    /// Bytes that had arrived when the packet left: tells round trips apart.
    var deliveredBefore: Int64
  }

  private struct Packet {
    var number: Int64
    var delivered: Int64
    var deliveredAt: Instant
    var firstSentAt: Instant
    var sentAt: Instant
    var isFromDrySpell: Bool
  }

  /// Packets that may be acknowledged yet; older ones than the newest acknowledged say nothing new.
  private var packets = RingBuffer<Packet>()
  /// Bytes that arrived, ever.
  private(set) var delivered: Int64 = 0
  private var deliveredAt = Instant.zero
  private var firstSentAt = Instant.zero
  /// When this much has arrived, the last dry spell is over.
  private var dryUntil: Int64 = 0

  mutating func sent(_ number: Int64, inFlightByteCount: Int, at now: Instant) {
    if inFlightByteCount == 0 { (deliveredAt, firstSentAt) = (now, now) }
    if packets.count >= SCTPLimits.chunksInFlightMax { packets.popFirst() }
    packets.append(
      Packet(
        number: number, delivered: delivered, deliveredAt: deliveredAt, firstSentAt: firstSentAt, sentAt: now,
        isFromDrySpell: delivered < dryUntil))
  }

  mutating func ranDry(inFlightByteCount: Int) { dryUntil = delivered + Int64(max(inFlightByteCount, 1)) }

  /// `newest` as in ``Acknowledgement``; `shortest` is the shortest round trip known: a shorter time cannot tell.
  mutating func acknowledged(
    _ byteCount: Int, newest: Int64?, shortest: TimeDelta?, at now: Instant
  ) -> Sample? {
    delivered += Int64(byteCount)
    deliveredAt = now
    guard let newest else { return nil }
    var found: Packet?
    while let packet = packets.first, packet.number <= newest { found = packets.popFirst() }
    guard let packet = found, packet.number == newest else { return nil }
    firstSentAt = packet.sentAt
    let elapsed = max(packet.sentAt - packet.firstSentAt, now - packet.deliveredAt)
    let isLongEnough = elapsed > .zero && elapsed >= shortest ?? .zero
    return Sample(
      bytesPerSecond: isLongEnough ? Double(delivered - packet.delivered) / elapsed.inSeconds : nil,
      isFromDrySpell: packet.isFromDrySpell, deliveredBefore: packet.delivered)
  }
}
