// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SansIO

extension PeerConnectionCore {
  /// An answer that refuses every m-line of an offer, for an application that has no connection to spare.
  ///
  /// It is valid SDP of the offer's shape (RFC 3264 §6): a browser takes it and has nothing to connect.
  public static func rejectingAnswer(
    to offer: SessionDescriptionInit
  ) throws(PeerConnectionError) -> SessionDescriptionInit {
    var random = RandomSource.system
    // Some peers insist on credentials and a fingerprint, which nobody will ever use.
    guard let fingerprint = CertificateFingerprint(hashFunction: .sha256, digest: random.bytes(32)) else {
      throw .unknownLocalDescription
    }
    let local = LocalTransportDescription(
      credentials: ICECredentials.generate(using: &random), fingerprint: fingerprint, cname: "-",
      candidates: [], sessionID: random.next() >> 1, sessionVersion: 1)
    let parsed = try parse(offer.sdp)
    let answer = try Self.negotiating { () throws(NegotiationError) in
      try Negotiation.makeAnswer(to: parsed, transceivers: [], local: local, rejectAll: true)
    }
    return SessionDescriptionInit(type: .answer, sdp: try serialize(answer))
  }
}
