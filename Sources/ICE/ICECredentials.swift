// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The user fragment and password of one side of an ICE session (RFC 8445 §5.3, RFC 8839 §5.4).
public struct ICECredentials: Hashable, Sendable {
  /// Names the session in every check; 4 to 256 ice-chars.
  public let usernameFragment: String
  /// Authenticates the checks that this side receives; 22 to 256 ice-chars.
  public let password: Secret<String>

  /// Takes credentials from a description.
  public init(usernameFragment: String, password: Secret<String>) {
    self.usernameFragment = usernameFragment
    self.password = password
  }

  /// Makes credentials of 48 and 144 random bits; RFC 8445 §5.3 asks for 24 and 128 at least.
  public static func generate(using random: inout RandomSource) -> ICECredentials {
    ICECredentials(
      usernameFragment: text(of: 8, using: &random), password: Secret(text(of: 24, using: &random)))
  }

  /// The 64 ice-chars, RFC 8839 §5.1.
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  private static func text(of count: Int, using random: inout RandomSource) -> String {
    let characters = random.bytes(count).map { alphabet[Int($0 & 63)] }
    return String(decoding: characters, as: UTF8.self)
  }

  /// Whether both parts have a length that fits into a check.
  var areUsable: Bool {
    (1...ICELimits.usernameFragmentByteCountMax).contains(usernameFragment.utf8.count)
      && (1...ICELimits.passwordByteCountMax).contains(password.unredacted.utf8.count)
  }
}
