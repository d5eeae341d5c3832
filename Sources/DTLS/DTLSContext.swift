// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// The DTLS settings that all connections of a process share (RFC 8827 §6.5).
///
/// DTLS 1.2, ECDHE with authenticated encryption, a certificate from both sides, and the SRTP profiles
/// AEAD_AES_128_GCM, AEAD_AES_256_GCM and AES128_CM_HMAC_SHA1_80: in this order as an offer, and chosen in this order
/// as a server. No renegotiation, no resumption. Make it before it is needed: it takes milliseconds.
public final class DTLSContext: @unchecked Sendable {
  /// OpenSSL counts references to it and locks it where it must.
  let handle: OpaquePointer

  /// OpenSSL's names of the profiles, best first.
  static let srtpProfiles = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"

  /// Makes a context; throws ``DTLSError/unavailable`` if OpenSSL lacks what it takes.
  public convenience init() throws(DTLSError) { try self.init(srtpProfiles: Self.srtpProfiles) }

  /// Makes a context whose certificates, keys and nonces all follow from the seed. For simulations, never on a
  /// network.
  ///
  /// - Parameter negotiatesSRTP: false for a peer that knows data channels only.
  public init(simulationSeed: UInt64, negotiatesSRTP: Bool = true) throws(DTLSError) {
    let profiles = negotiatesSRTP ? Self.srtpProfiles : nil
    guard let handle = co_context_new_simulated(profiles, simulationSeed) else { throw .unavailable }
    self.handle = handle
  }

  /// Makes a context with other profiles, or with none: how tests play a weak peer.
  init(srtpProfiles: String?) throws(DTLSError) {
    guard let handle = co_context_new(srtpProfiles) else { throw .unavailable }
    self.handle = handle
  }

  deinit { co_context_free(handle) }

  /// Makes a key pair and certificate from this context's randomness.
  public func makeCertificate() throws(DTLSError) -> DTLSCertificate {
    guard let certificate = co_certificate_new(handle) else { throw .unavailable }
    return try DTLSCertificate(owning: certificate, context: self)
  }
}
