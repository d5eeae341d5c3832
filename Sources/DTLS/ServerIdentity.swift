// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// Whether a certificate belongs to a host (RFC 9525), for connections whose TLS is not ours.
public enum ServerIdentity {
  /// Whether a certificate in DER form names a host among its subject alternative names: a host name among the
  /// names and an address among the addresses, as ``DTLSClient`` has it. Who vouches for it is not looked at.
  public static func isCertificate(_ der: [UInt8], for host: String) -> Bool {
    co_certificate_is_for_host(der, der.count, host) == 1
  }
}
