// SPDX-License-Identifier: Apache-2.0

/// Why a call of ours could not be served; what a peer does ends in ``DTLSTransport/Failure`` instead.
public enum DTLSError: Error, Hashable, Sendable {
  /// OpenSSL could not make the object: no memory, or a library without the algorithms that WebRTC needs.
  case unavailable
  /// Application data is only sent between connected and closed.
  case notConnected
  /// The message does not fit a datagram; DTLS does not fragment application data.
  case messageTooLong
  /// OpenSSL refused to encrypt the message.
  case encryptionFailed
}
