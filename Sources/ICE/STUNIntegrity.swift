// SPDX-License-Identifier: Apache-2.0

internal import Crypto
public import SansIO

/// The key of MESSAGE-INTEGRITY: for short-term credentials the password itself (RFC 8489 §9.1.1), for long-term
/// credentials a digest of user name, realm and password (§9.2.2).
///
/// It is made once per password and kept. ICE's passwords are ASCII, so there is nothing for SASLprep to do.
public struct STUNIntegrityKey: Sendable {
  private let key: Secret<SymmetricKey>

  /// Makes the key of a password.
  public init(password: Secret<String>) {
    key = Secret(SymmetricKey(data: Array(password.unredacted.utf8)))
  }

  /// Makes the key of long-term credentials, which TURN uses: MD5 of `username:realm:password`.
  ///
  /// The three are taken as they are: text beyond ASCII has to be prepared (SASLprep, OpaqueString) by whoever
  /// knows that it is needed.
  public init(username: String, realm: String, password: Secret<String>) {
    let text = "\(username):\(realm):\(password.unredacted)"
    key = Secret(SymmetricKey(data: Array(Insecure.MD5.hash(data: Array(text.utf8)))))
  }

  /// HMAC-SHA1 of a message's beginning, 20 bytes.
  func authenticationCode(for text: [UInt8]) -> [UInt8] {
    Array(HMAC<Insecure.SHA1>.authenticationCode(for: text, using: key.unredacted))
  }
}
