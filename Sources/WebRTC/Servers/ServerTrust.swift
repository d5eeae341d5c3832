// SPDX-License-Identifier: Apache-2.0

import DTLS
import NIOCore
import NIOPosix
import NIOSSL

/// Which authorities may vouch for servers over TLS and DTLS.
public enum TrustRoots: Hashable, Sendable {
  /// Those that the system trusts.
  case system
  /// Those in a file of PEM text, and no others: a private authority.
  case file(String)
  /// Those in a PEM text, and no others.
  case pem(String)
}

/// The settings of TLS and DTLS that all of a loop's server connections share.
///
/// Made at the first need, on a background thread: the system's authorities are hundreds of certificates.
/// Confined to the event loop.
final class ServerTrust {
  private let roots: TrustRoots
  private let eventLoop: any EventLoop
  private var tls: EventLoopFuture<NIOSSLContext>?
  private var dtls: EventLoopFuture<DTLSClientContext>?

  init(roots: TrustRoots, eventLoop: any EventLoop) {
    self.roots = roots
    self.eventLoop = eventLoop
  }

  /// The settings of TLS: version 1.2 at least, the chain verified.
  ///
  /// The host is verified by ``StreamServerLink``: SwiftNIO's own check is content with a certificate for the
  /// address that it is connected to although a name was asked for, so that whoever forges an answer of the
  /// name's DNS needs no more than a certificate for an address of his own; and through a proxy it takes the
  /// proxy's address.
  func tlsContext() -> EventLoopFuture<NIOSSLContext> {
    if let tls { return tls }
    let roots = roots
    let made = NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
      var configuration = TLSConfiguration.makeClientConfiguration()
      configuration.minimumTLSVersion = .tlsv12
      configuration.certificateVerification = .noHostnameVerification
      configuration.trustRoots = try Self.niosslRoots(roots)
      return try NIOSSLContext(configuration: configuration)
    }
    tls = made
    // A file that cannot be read now may be there when the next server is tried.
    made.assumeIsolated().whenFailure { _ in self.tls = nil }
    return made
  }

  /// The settings of DTLS.
  func dtlsContext() -> EventLoopFuture<DTLSClientContext> {
    if let dtls { return dtls }
    let roots = roots
    let made = NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
      switch roots {
      case .system: try DTLSClientContext(trusting: .system)
      case .file(let path): try DTLSClientContext(trusting: .file(path))
      case .pem(let text): try DTLSClientContext(trusting: .pem(text))
      }
    }
    dtls = made
    made.assumeIsolated().whenFailure { _ in self.dtls = nil }
    return made
  }

  private static func niosslRoots(_ roots: TrustRoots) throws -> NIOSSLTrustRoots {
    switch roots {
    case .system: .default
    case .file(let path): .file(path)
    case .pem(let text): .certificates(try NIOSSLCertificate.fromPEMBytes(Array(text.utf8)))
    }
  }
}
