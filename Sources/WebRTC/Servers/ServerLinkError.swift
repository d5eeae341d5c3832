// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Why a connection to a server failed, in words.
struct ServerLinkError: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }

  /// What to tell of an error of SwiftNIO's. Nothing of it is a secret: nothing was sent yet, or only frames.
  static func text(of error: any Error) -> String {
    switch error {
    case let error as ServerLinkError: error.reason
    case let error as NIOConnectionError:
      if let first = error.connectionErrors.first {
        text(of: first.error)
      } else {
        "the name cannot be resolved"
      }
    case let error as IOError: text(ofCode: error.errnoCode)
    case ChannelError.connectTimeout(let time): "no answer within \(time.nanoseconds / 1_000_000_000) s"
    case let error as NIOSSLExtraError where error == .failedToValidateHostname:
      "the server's certificate is for another host"
    case NIOSSLError.uncleanShutdown: "the server closed the connection without a goodbye"
    case let error as NIOSSLError where "\(error)".contains("CERTIFICATE_VERIFY_FAILED"):
      "the server's certificate was refused: no trusted authority vouches for it at this time"
    case is NIOSSLError, is BoringSSLError: "TLS failed: \(error)"
    default: "\(error)"
    }
  }

  private static func text(ofCode code: CInt) -> String {
    switch code {
    case ECONNREFUSED: "connection refused"
    case ECONNRESET, EPIPE: "connection reset"
    case ENETUNREACH, EHOSTUNREACH: "no route to it"
    case ETIMEDOUT: "no answer"
    default: "error \(code) of the operating system"
    }
  }
}
