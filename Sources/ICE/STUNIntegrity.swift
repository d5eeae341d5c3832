// SPDX-License-Identifier: Apache-2.0

internal import Crypto
public import SansIO

/// The key of MESSAGE-INTEGRITY for short-term credentials: the password itself (RFC 8489 §9.1.1).
///
/// It is made once per password and kept. ICE's passwords are ASCII, so there is nothing for SASLprep to do.
public struct STUNIntegrityKey: Sendable {
  private let key: Secret<SymmetricKey>

  /// Makes the key of a password.
  public init(password: Secret<String>) {
    key = Secret(SymmetricKey(data: Array(password.unredacted.utf8)))
  }

  /// HMAC-SHA1 of a message's beginning, 20 bytes.
  func authenticationCode(for text: [UInt8]) -> [UInt8] {
    Array(HMAC<Insecure.SHA1>.authenticationCode(for: text, using: key.unredacted))
  }
}
