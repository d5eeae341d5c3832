// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The inbound direction: authenticates, decrypts and refuses replays (RFC 3711 §3.3, §3.4; RFC 7714).
///
/// Nothing is remembered of a packet whose tag does not match. The plaintext is lent from the unprotector's own
/// memory until the next call.
public struct SRTPUnprotector: ~Copyable, Sendable {
  /// The profile that the handshake chose.
  public let profile: SRTPProtectionProfile
  private let rtpCipher: any PacketCipher
  private let rtcpCipher: any PacketCipher
  private var rtpStreams = ReplayTable()
  private var rtcpStreams = ReplayTable()
  private var scratch = [UInt8](repeating: 0, count: Self.initialScratchByteCount)

  /// Enough for every packet on an Ethernet path; grows to the longest packet seen.
  private static let initialScratchByteCount = 2048

  /// Derives the session keys.
  ///
  /// Throws ``SRTPError/invalidKeyLength`` or ``SRTPError/cryptoFailed``.
  public init(profile: SRTPProtectionProfile, keys: SRTPKeys) throws(SRTPError) {
    try self.init(
      profile: profile, rtp: SessionKeys(from: keys, profile: profile, purpose: .rtp),
      rtcp: SessionKeys(from: keys, profile: profile, purpose: .rtcp))
  }

  /// Starts from session keys: how published vectors are tested.
  init(profile: SRTPProtectionProfile, rtp: SessionKeys, rtcp: SessionKeys) throws(SRTPError) {
    let rtpCipher = try makePacketCipher(profile: profile, keys: rtp, encrypts: false)
    let rtcpCipher = try makePacketCipher(profile: profile, keys: rtcp, encrypts: false)
    self.profile = profile
    self.rtpCipher = rtpCipher
    self.rtcpCipher = rtcpCipher
  }

  /// How many SSRCs were heard of in authenticated RTP and RTCP packets.
  public var streamCounts: (rtp: Int, rtcp: Int) { (rtpStreams.count, rtcpStreams.count) }

  /// Authenticates and decrypts one RTP packet and lends header and plaintext.
  ///
  /// Throws ``SRTPError/truncated``, ``SRTPError/malformed``, ``SRTPError/tooManyStreams``, ``SRTPError/replayed``,
  /// ``SRTPError/tooOld``, ``SRTPError/keyLifetimeExceeded`` or ``SRTPError/authenticationFailed``.
  @_lifetime(&self)
  public mutating func unprotectRTP(_ packet: RawSpan) throws(SRTPError) -> RawSpan {
    let frame = try RTPFrame(parsing: packet, trailerByteCount: profile.rtpOverheadByteCount)
    guard packet.byteCount <= SRTPLimits.packetByteCountMax else { throw .malformed }
    let place = try rtpStreams.place(of: frame.ssrc)
    let index = Self.estimateIndex(frame.sequenceNumber, highest: rtpStreams.highest(at: place))
    guard index >= 0 else { throw .tooOld }
    guard index < SRTPProtector.packetIndexEnd else { throw .keyLifetimeExceeded }
    try rtpStreams.check(index, at: place)
    let count = packet.byteCount - profile.rtpOverheadByteCount
    makeRoom(for: count)
    let position = PacketPosition(ssrc: frame.ssrc, index: UInt64(index))
    let header = frame.headerByteCount
    let cipher = rtpCipher
    let isOpened = Self.open(packet, clearByteCount: header, to: &scratch) { packet, output in
      cipher.openRTP(packet, headerByteCount: header, at: position, into: output)
    }
    guard isOpened else { throw .authenticationFailed }
    rtpStreams.accept(index, ssrc: frame.ssrc, at: place)
    return scratch.span.bytes.extracting(0..<count)
  }

  /// Authenticates and decrypts one compound RTCP packet and lends it.
  ///
  /// Throws ``SRTPError/notEncrypted`` for a clear E bit, otherwise as ``unprotectRTP(_:)`` does.
  @_lifetime(&self)
  public mutating func unprotectRTCP(_ packet: RawSpan) throws(SRTPError) -> RawSpan {
    let count = packet.byteCount - profile.rtcpOverheadByteCount
    guard count >= SRTCPFrame.clearByteCount else { throw .truncated }
    guard packet.byteCount <= SRTPLimits.packetByteCountMax else { throw .malformed }
    let ssrc = try RTCPFrame(parsing: packet).ssrc
    let word = indexWord(of: packet)
    guard word & SRTCPFrame.encryptedFlag != 0 else { throw .notEncrypted }
    let index = Int64(word & ~SRTCPFrame.encryptedFlag)
    let place = try rtcpStreams.place(of: ssrc)
    try rtcpStreams.check(index, at: place)
    makeRoom(for: count)
    let position = PacketPosition(ssrc: ssrc, index: UInt64(index))
    let cipher = rtcpCipher
    let isOpened = Self.open(packet, clearByteCount: SRTCPFrame.clearByteCount, to: &scratch) {
      packet, output in
      cipher.openRTCP(packet, at: position, into: output)
    }
    guard isOpened else { throw .authenticationFailed }
    rtcpStreams.accept(index, ssrc: ssrc, at: place)
    return scratch.span.bytes.extracting(0..<count)
  }

  /// Copies the clear part and lets `decrypt` write the rest behind it.
  private static func open(
    _ packet: RawSpan, clearByteCount: Int, to scratch: inout [UInt8],
    _ decrypt: (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Bool
  ) -> Bool {
    packet.withUnsafeBytes { packet in
      scratch.withUnsafeMutableBytes { scratch in
        guard let from = packet.bytes, let to = scratch.bytes else { return false }
        to.update(from: from, count: clearByteCount)
        return decrypt(packet, to + clearByteCount)
      }
    }
  }

  /// The E bit and index: before the tag with AES-CM (RFC 3711 §3.4), at the end with AEAD (RFC 7714 §9.3).
  private func indexWord(of packet: RawSpan) -> UInt32 {
    let end = profile == .aes128CMHMACSHA1_80 ? packet.byteCount - profile.tagByteCount : packet.byteCount
    return UInt32(
      bigEndian: packet.unsafeLoadUnaligned(fromByteOffset: end - SRTCPFrame.indexByteCount, as: UInt32.self))
  }

  private mutating func makeRoom(for byteCount: Int) {
    guard scratch.count < byteCount else { return }
    scratch = [UInt8](repeating: 0, count: byteCount)
  }

  /// The index nearest to the highest accepted one (RFC 3711 §3.3.1, appendix A); a stream starts with roll-over
  /// counter 0. Negative for a number from before the start.
  static func estimateIndex(_ sequenceNumber: UInt16, highest: Int64?) -> Int64 {
    guard let highest else { return Int64(sequenceNumber) }
    let distance = Int16(truncatingIfNeeded: Int(sequenceNumber) - Int(UInt16(truncatingIfNeeded: highest)))
    return highest + Int64(distance)
  }
}
