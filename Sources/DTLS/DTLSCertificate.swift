// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// A key pair with its self-signed certificate: ECDSA on P-256, SHA-256, a random name, valid from a day ago for 31
/// days.
///
/// Make one per connection, ahead of need: it takes about a tenth of a millisecond, but not on a network loop.
public final class DTLSCertificate: @unchecked Sendable {
  /// Never changes once it is made.
  let handle: OpaquePointer
  /// A simulated context owns memory that the certificate uses.
  private let context: DTLSContext?
  /// The SHA-256 fingerprint, for the session description.
  public let fingerprint: CertificateFingerprint

  /// Makes a certificate from the system's random source; throws ``DTLSError/unavailable`` if OpenSSL fails.
  public static func generate() throws(DTLSError) -> DTLSCertificate {
    guard let certificate = co_certificate_new(nil) else { throw .unavailable }
    return try DTLSCertificate(owning: certificate, context: nil)
  }

  init(owning handle: OpaquePointer, context: DTLSContext?) throws(DTLSError) {
    guard let fingerprint = Self.fingerprint(of: handle, by: .sha256) else {
      co_certificate_free(handle)
      throw .unavailable
    }
    self.handle = handle
    self.context = context
    self.fingerprint = fingerprint
  }

  deinit { co_certificate_free(handle) }

  /// The fingerprint by any hash function.
  public func fingerprint(by function: CertificateFingerprint.HashFunction) -> CertificateFingerprint? {
    Self.fingerprint(of: handle, by: function)
  }

  private static func fingerprint(
    of handle: OpaquePointer, by function: CertificateFingerprint.HashFunction
  ) -> CertificateFingerprint? {
    var digest = [UInt8](repeating: 0, count: Int(CO_DIGEST_BYTES_MAX))
    let count = co_certificate_digest(handle, function.code, &digest)
    return CertificateFingerprint(hashFunction: function, digest: Array(digest.prefix(count)))
  }
}
