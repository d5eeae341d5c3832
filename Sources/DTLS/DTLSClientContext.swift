// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL

/// Which authorities a client believes when they vouch for a server, and the settings that go with it: DTLS 1.2,
/// ECDHE with authenticated encryption.
///
/// Shared by all of a process' ``DTLSClient``s. Make it ahead of need and not on a network loop: it reads files.
public final class DTLSClientContext: @unchecked Sendable {
  /// Where the certificates of the authorities come from.
  public enum TrustAnchors: Hashable, Sendable {
    /// OpenSSL's places; the environment's SSL_CERT_FILE and SSL_CERT_DIR change them.
    case system
    /// A file of PEM text.
    case file(String)
    /// PEM text.
    case pem(String)
  }

  /// OpenSSL counts references to it and locks it where it must.
  let handle: OpaquePointer
  /// How tests play a server.
  let isServer: Bool

  /// Makes a context; throws ``DTLSError/unavailable`` where there is no certificate to trust.
  public init(trusting anchors: TrustAnchors) throws(DTLSError) {
    let handle =
      switch anchors {
      case .system: co_context_new_trusting(nil, nil, 0)
      case .file(let path): co_context_new_trusting(path, nil, 0)
      case .pem(let text):
        Array(text.utf8).withUnsafeBufferPointer {
          co_context_new_trusting(nil, $0.baseAddress, $0.count)
        }
      }
    guard let handle else { throw .unavailable }
    self.handle = handle
    isServer = false
  }

  /// Makes the context of a server that shows the certificates of a PEM text: how tests play one.
  init(servingWith chain: String, key: String) throws(DTLSError) {
    let chain = Array(chain.utf8)
    let key = Array(key.utf8)
    guard let handle = co_context_new_serving_for_test(chain, chain.count, key, key.count) else {
      throw .unavailable
    }
    self.handle = handle
    isServer = true
  }

  deinit { co_context_free(handle) }
}
