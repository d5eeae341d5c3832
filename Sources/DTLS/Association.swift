// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
internal import SansIO

/// Owns one association of COpenSSL, and what has to live as long.
///
/// Its only user is the ``DTLSTransport`` that made it, which cannot be copied: so it is never shared.
final class Association: @unchecked Sendable {
  let handle: OpaquePointer
  private let context: DTLSContext
  private let certificate: DTLSCertificate?

  init(
    context: DTLSContext, certificate: DTLSCertificate?, role: DTLSRole, maximumDatagramByteCount: Int,
    initialTimeout: TimeDelta
  ) throws(DTLSError) {
    let handle = co_dtls_new(
      context.handle, certificate?.handle, role == .client ? 1 : 0, maximumDatagramByteCount,
      UInt32(initialTimeout.nanoseconds / 1000))
    guard let handle else { throw .unavailable }
    self.handle = handle
    self.context = context
    self.certificate = certificate
  }

  deinit { co_dtls_free(handle) }

  /// Adds a fingerprint that the peer's certificate may have. More than eight of one hash are passed over.
  func accept(_ fingerprint: CertificateFingerprint) {
    _ = co_dtls_accept_digest(
      handle, fingerprint.hashFunction.code, fingerprint.digest, fingerprint.digest.count)
  }

  var failure: DTLSTransport.Failure {
    switch co_dtls_failure(handle) {
    case CO_FAILURE_FINGERPRINT: .fingerprintMismatch
    case CO_FAILURE_NO_PEER_CERTIFICATE: .noPeerCertificate
    case CO_FAILURE_NO_SRTP_PROFILE: .noCommonSRTPProfile
    default: .handshake(String(cString: co_dtls_failure_reason(handle)))
    }
  }

  /// What the finished handshake agreed on; `nil` if OpenSSL cannot tell.
  func connected(as role: DTLSRole) -> DTLSTransport.Connected? {
    let profile = co_dtls_srtp_profile(handle)
    guard let byteCount = Self.keyingMaterialByteCount(ofProfile: profile) else { return nil }
    var material = [UInt8](repeating: 0, count: byteCount)
    guard co_dtls_export_srtp_keys(handle, &material, byteCount) == 1 else { return nil }
    var digest = [UInt8](repeating: 0, count: Int(CO_DIGEST_BYTES_MAX))
    let count = co_dtls_peer_digest(handle, CertificateFingerprint.HashFunction.sha256.code, &digest)
    let fingerprint = CertificateFingerprint(hashFunction: .sha256, digest: Array(digest.prefix(count)))
    guard let fingerprint else { return nil }
    return DTLSTransport.Connected(
      srtpProfile: profile, keyingMaterial: Secret(material), role: role,
      cipherSuite: String(cString: co_dtls_cipher_suite(handle)),
      version: String(co_dtls_version(handle), radix: 16, uppercase: true),
      remoteCertificateFingerprint: fingerprint)
  }

  /// Two keys and two salts (RFC 5764 §4.2): of 16 and 14 bytes for AES-CM (RFC 5764 §4.1.2), of 16 or 32 and 12 for
  /// AES-GCM (RFC 7714 §12).
  private static func keyingMaterialByteCount(ofProfile profile: UInt16) -> Int? {
    switch profile {
    case 0x0001: 2 * (16 + 14)
    case 0x0007: 2 * (16 + 12)
    case 0x0008: 2 * (32 + 12)
    default: nil
    }
  }
}
