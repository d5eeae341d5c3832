// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

extension KinesisVideoError {
  /// A failure of the network or of TLS in the form of a service error; one that is a service error stays as it is.
  ///
  /// Only the address's origin is named: a query may hold a signature.
  init(connecting url: ServiceURL, failure: any Error) {
    if let known = failure as? KinesisVideoError {
      self = known
      return
    }
    let (errorType, reason) = Self.classify(failure)
    self.init(errorType: errorType, message: "\(url.origin): \(reason).", statusCode: 0)
  }

  private static func classify(_ failure: any Error) -> (errorType: String, reason: String) {
    switch failure {
    case is NIOTooManyBytesError: return (unexpectedResponse, "the answer is too large")
    case ChannelError.inappropriateOperationForState, ChannelError.eof, ChannelError.alreadyClosed:
      return (connectionFailure, "the connection was closed, or time ran out, before there was an answer")
    case is NIOSSLExtraError:
      return (untrustedServer, "the certificate is not the server's: \(failure)")
    case is NIOSSLError, is BoringSSLError:
      let text = "\(failure)"
      if text.contains("CERTIFICATE_VERIFY_FAILED") {
        return (untrustedServer, "the certificate was not issued by a trusted authority, or is out of date")
      }
      // The library's texts name its own files behind the reason.
      let reason = text.split(separator: " at /").first.map(String.init) ?? text
      let isProtocolFailure = ["VERSION", "PROTOCOL", "CIPHER", "CERTIFICATE"].contains { text.contains($0) }
      return (isProtocolFailure ? untrustedServer : connectionFailure, "TLS failed: \(reason)")
    default: return (connectionFailure, "\(failure)")
    }
  }
}
