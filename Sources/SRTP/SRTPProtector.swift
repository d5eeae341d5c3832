// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The outbound direction: protects RTP and RTCP packets (RFC 3711 §3.3, §3.4; RFC 7714).
///
/// It encrypts from the caller's shared plaintext straight into memory that the caller lends, and allocates nothing
/// per packet. No nonce is ever used twice under a key: the packet index of each SSRC has to grow.
public struct SRTPProtector: ~Copyable, Sendable {
  /// The profile that the handshake chose.
  public let profile: SRTPProtectionProfile
  private let rtpCipher: any PacketCipher
  private let rtcpCipher: any PacketCipher
  private var streams: [(ssrc: UInt32, lastIndex: Int64)] = []
  /// The index of the next RTCP packet, of whatever SSRC.
  private var rtcpIndex: UInt64

  /// The first packet index that is too high (RFC 3711 §9.2).
  static let packetIndexEnd: Int64 = 1 << 48
  /// The first RTCP index that is too high.
  static let rtcpIndexEnd: UInt64 = 1 << 31

  /// Derives the session keys.
  ///
  /// Throws ``SRTPError/invalidKeyLength`` or ``SRTPError/cryptoFailed``.
  public init(profile: SRTPProtectionProfile, keys: SRTPKeys) throws(SRTPError) {
    try self.init(
      profile: profile, rtp: SessionKeys(from: keys, profile: profile, purpose: .rtp),
      rtcp: SessionKeys(from: keys, profile: profile, purpose: .rtcp))
  }

  /// Starts from session keys: how published vectors are tested.
  init(
    profile: SRTPProtectionProfile, rtp: SessionKeys, rtcp: SessionKeys, rtcpIndex: UInt64 = 0
  ) throws(SRTPError) {
    let rtpCipher = try makePacketCipher(profile: profile, keys: rtp, encrypts: true)
    let rtcpCipher = try makePacketCipher(profile: profile, keys: rtcp, encrypts: true)
    self.profile = profile
    self.rtpCipher = rtpCipher
    self.rtcpCipher = rtcpCipher
    self.rtcpIndex = rtcpIndex
  }

  /// Writes one protected RTP packet: header, encrypted `prefix` and `payload`, tag.
  ///
  /// - Parameters:
  ///   - header: The whole RTP header with CSRC list and extension; SSRC and sequence number are read from it.
  ///   - prefix: Goes before the payload: an RTX packet's original sequence number, mostly nothing.
  ///   - payload: The payload, with padding if any.
  ///   - packetIndex: Roll-over counter * 65,536 + sequence number, 0 to 2^48 - 1. A stream's counter starts at 0, and
  ///     the index is above that of the SSRC's last packet.
  ///   - output: Needs room for all parts and the profile's `rtpOverheadByteCount`.
  ///
  /// Throws and writes nothing: ``SRTPError/truncated``, ``SRTPError/malformed`` (header, or its sequence number is not
  /// the index's), ``SRTPError/indexReused``, ``SRTPError/keyLifetimeExceeded``, ``SRTPError/tooManyStreams``,
  /// ``SRTPError/cryptoFailed``.
  public mutating func protectRTP(
    header: RawSpan, prefix: RawSpan, payload: RawSpan, packetIndex: Int64, into output: inout OutputRawSpan
  ) throws(SRTPError) {
    let frame = try RTPFrame(parsing: header, trailerByteCount: 0)
    guard frame.headerByteCount == header.byteCount,
      frame.sequenceNumber == UInt16(truncatingIfNeeded: packetIndex), packetIndex >= 0
    else { throw .malformed }
    guard packetIndex < Self.packetIndexEnd else { throw .keyLifetimeExceeded }
    let total = header.byteCount + prefix.byteCount + payload.byteCount + profile.rtpOverheadByteCount
    precondition(output.freeCapacity >= total, "lent memory is shorter than the packet")
    try advance(frame.ssrc, to: packetIndex)
    let position = PacketPosition(ssrc: frame.ssrc, index: UInt64(packetIndex))
    let cipher = rtpCipher
    let isSealed = header.withUnsafeBytes { header in
      prefix.withUnsafeBytes { prefix in
        payload.withUnsafeBytes { payload in
          output.withUnsafeMutableBytes { memory, initializedCount in
            guard let from = header.bytes, let to = memory.bytes else { return false }
            let packet = to + initializedCount
            packet.update(from: from, count: header.count)
            let isSealed = cipher.sealRTP(
              packet, headerByteCount: header.count, first: prefix, second: payload, at: position)
            if isSealed { initializedCount += total }
            return isSealed
          }
        }
      }
    }
    guard isSealed else { throw .cryptoFailed }
  }

  /// Writes one protected compound RTCP packet.
  ///
  /// `output` needs room for the packet and the profile's `rtcpOverheadByteCount`. Throws ``SRTPError/truncated``,
  /// ``SRTPError/malformed``, ``SRTPError/keyLifetimeExceeded`` or ``SRTPError/cryptoFailed``.
  public mutating func protectRTCP(_ packet: RawSpan, into output: inout OutputRawSpan) throws(SRTPError) {
    let ssrc = try RTCPFrame(parsing: packet).ssrc
    guard rtcpIndex < Self.rtcpIndexEnd else { throw .keyLifetimeExceeded }
    let total = packet.byteCount + profile.rtcpOverheadByteCount
    precondition(output.freeCapacity >= total, "lent memory is shorter than the packet")
    let position = PacketPosition(ssrc: ssrc, index: rtcpIndex)
    rtcpIndex += 1
    let cipher = rtcpCipher
    let isSealed = packet.withUnsafeBytes { packet in
      output.withUnsafeMutableBytes { memory, initializedCount in
        guard let to = memory.bytes else { return false }
        let isSealed = cipher.sealRTCP(packet, at: position, into: to + initializedCount)
        if isSealed { initializedCount += total }
        return isSealed
      }
    }
    guard isSealed else { throw .cryptoFailed }
  }

  /// Takes note of an index before it is used, so that no failure can make it be used again.
  private mutating func advance(_ ssrc: UInt32, to index: Int64) throws(SRTPError) {
    for place in streams.indices where streams[place].ssrc == ssrc {
      guard index > streams[place].lastIndex else { throw .indexReused }
      streams[place].lastIndex = index
      return
    }
    guard streams.count < SRTPLimits.streamsMax else { throw .tooManyStreams }
    streams.append((ssrc, index))
  }
}
