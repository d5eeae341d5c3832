// SPDX-License-Identifier: Apache-2.0

/// Why a packet was not protected or unprotected. Inbound, each is a cause to count and drop by.
public enum SRTPError: Int, Error, CaseIterable, Hashable, Sendable {
  /// Shorter than its header, tag and index.
  case truncated
  /// Not RTP or RTCP of version 2; outbound also an index that is not the header's.
  case malformed
  /// The tag does not match: damaged, forged, or of another key.
  case authenticationFailed
  /// This index was seen before (RFC 3711 §3.3.2).
  case replayed
  /// Before the replay window.
  case tooOld
  /// Outbound: an index that is not above the last one of its SSRC; it would repeat a nonce.
  case indexReused
  /// More SSRCs than ``SRTPLimits/streamsMax``.
  case tooManyStreams
  /// SRTCP whose E bit says that it is not encrypted.
  case notEncrypted
  /// 2^48 packets or 2^31 compound packets were reached (RFC 3711 §9.2).
  case keyLifetimeExceeded
  /// Keying material of a length that is not the profile's.
  case invalidKeyLength
  /// OpenSSL refused.
  case cryptoFailed
}

/// Bounds of the SRTP tables.
public enum SRTPLimits {
  /// SSRCs of one direction. A connection has an SSRC and an RTX SSRC for each of a dozen m-lines; a peer that is past
  /// authentication and makes up more is cut off. None is ever forgotten, for its packets could be replayed then.
  public static let streamsMax = 64
  /// Packets of an SSRC that are told apart from replays: 0.7 s of a 10 Mbit/s stream (RFC 3711 §3.3.2 asks for 64).
  public static let replayWindowPackets = 1024
  /// The longest packet, UDP's limit.
  static let packetByteCountMax = 65_535
}
