// SPDX-License-Identifier: Apache-2.0

public import SDP

/// Why an offer or answer was refused, or ours could not be made.
///
/// Sections are given by their index. No case carries text of the peer.
public enum NegotiationError: Error, Hashable, Sendable {
  /// The text of a description cannot be read or written.
  case description(SDPError)
  /// The answer has another number of m-lines than the offer (RFC 3264 §6).
  case mediaCountMismatch(offered: Int, answered: Int)
  /// The answer's section is of another kind, protocol or identifier than the offer's.
  case mediaMismatch(section: Int)
  /// The answer takes up a section that the offer refused.
  case rejectedSectionAccepted(section: Int)
  /// An m-line that the answer accepts carries media in the clear or keyed by signaling: RTP/AVP, RTP/SAVP,
  /// `a=crypto` (RFC 8827 §6.5 forbids both).
  case insecureMedia(section: Int)
  /// An accepted section has no `a=rtcp-mux`.
  case missingRTCPMux(section: Int)
  /// No fingerprint, so that nobody could be authenticated (RFC 8827 §6.5).
  case missingFingerprint(section: Int)
  /// A fingerprint of a known hash function has not the form or length of its digest.
  case malformedFingerprint(section: Int)
  /// SHA-1, SHA-224 or unknown hash functions only.
  case unsupportedFingerprint(section: Int)
  /// No ICE user fragment or no password.
  case missingICECredentials(section: Int)
  /// ICE credentials of a length or with characters that RFC 8839 §5.4 forbids.
  case invalidICECredentials(section: Int)
  /// `holdconn`, `actpass` in an answer, none in an answer, or the roles of offer and answer do not fit.
  case invalidSetup(section: Int)
  /// Two sections have the same identifier (RFC 5888 §4).
  case duplicateMid(section: Int)
  /// A BUNDLE group names an unknown identifier, one twice, or one that another group has (RFC 9143 §5).
  case invalidBundle
  /// The answer accepts sections outside one BUNDLE group; we have one transport.
  case notBundled(section: Int)
  /// A payload type stands for two codecs on one transport (RFC 9143 §9.1).
  case payloadTypeConflict(payloadType: UInt8)
  /// A header extension number stands for two extensions on one transport (RFC 9143 §12).
  case headerExtensionConflict(id: UInt16)
  /// The answer accepts a section with none of the codecs offered.
  case noCommonCodec(section: Int)
  /// A transceiver that is to be offered has no codec, or is neither audio nor video.
  case unusableTransceiver(index: Int)
  /// More codecs than there are payload types.
  case payloadTypesExhausted
}

extension NegotiationError: CustomStringConvertible {
  /// A sentence for a log.
  public var description: String {
    switch self {
    case .description(let error): "the description cannot be used: \(error)"
    case .mediaCountMismatch(let offered, let answered):
      "\(offered) m-lines were offered and \(answered) answered"
    case .mediaMismatch(let section): "section \(section) of the answer does not belong to that of the offer"
    case .rejectedSectionAccepted(let section): "the answer accepts section \(section), which was not offered"
    case .insecureMedia(let section): "section \(section) is not protected by DTLS-SRTP"
    case .missingRTCPMux(let section): "section \(section) has no rtcp-mux"
    case .missingFingerprint(let section): "section \(section) has no fingerprint"
    case .malformedFingerprint(let section): "section \(section) has a malformed fingerprint"
    case .unsupportedFingerprint(let section): "section \(section) has no fingerprint by SHA-256 or stronger"
    case .missingICECredentials(let section): "section \(section) has no ICE user fragment or password"
    case .invalidICECredentials(let section): "section \(section) has invalid ICE credentials"
    case .invalidSetup(let section): "section \(section) has a setup attribute that does not fit"
    case .duplicateMid(let section): "section \(section) has the mid of another"
    case .invalidBundle: "a BUNDLE group names an unknown mid, or one twice"
    case .notBundled(let section): "section \(section) was accepted outside the bundle"
    case .payloadTypeConflict(let payloadType): "payload type \(payloadType) stands for two codecs"
    case .headerExtensionConflict(let id): "header extension \(id) stands for two extensions"
    case .noCommonCodec(let section): "section \(section) was accepted without a codec in common"
    case .unusableTransceiver(let index): "transceiver \(index) has no codec to offer"
    case .payloadTypesExhausted: "more codecs than payload types"
    }
  }
}
