// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What a datagram is by its first byte (RFC 7983 §7), RTP and RTCP told apart by the second (RFC 5761 §4).
///
/// ```
///                  +----------------+
///                  |        [0..3] -+--> STUN
///  packet -->      |      [20..63] -+--> DTLS
///                  |    [128..191] -+--> RTP / RTCP
///                  +----------------+
/// ```
enum PacketKind {
  case stun
  case dtls
  case rtp
  case rtcp
  case unknown

  init(_ datagram: RawSpan) {
    guard let first = datagram.byte(at: 0), let second = datagram.byte(at: 1) else {
      self = .unknown
      return
    }
    switch first {
    case 0...3: self = .stun
    case 20...63: self = .dtls
    case 128...191: self = (192...223).contains(second) ? .rtcp : .rtp
    default: self = .unknown
    }
  }
}

/// Why a datagram, or what else a peer sent, was not processed.
public enum PacketDropCause: Int, CaseIterable, Sendable {
  /// Neither STUN, DTLS, RTP nor RTCP.
  case unknownKind
  /// DTLS from an address that has not shown our ICE password.
  case dtlsFromUnauthenticatedAddress
  /// A candidate before the description when there were too many already.
  case earlyCandidateOverflow
  /// A candidate of an ICE generation that a restart has ended, or of none that came to be.
  case candidateOfOtherGeneration
  /// More DTLS before its path was valid than we hold.
  case heldDTLSOverflow
  /// DTLS before the remote description told us whom to expect.
  case dtlsBeforeDescription
  /// RTP or RTCP from an address without a valid pair.
  case mediaFromInvalidPath
  /// RTP or RTCP before the handshake checked the fingerprint.
  case mediaBeforeHandshake
  /// Application data of DTLS though no exchange has agreed on data channels.
  case dataBeforeAgreement
  /// Events that the application did not take in time.
  case eventOverflow
}
