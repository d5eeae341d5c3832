// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What must not come back to us in a server's sentence: the service quotes the request that it could not verify, session
/// token included, and its sentence reaches logs.
struct KnownSecrets: Sendable {
  /// Longest first, so that no secret that holds another leaves a rest.
  private var texts: [String] = []
  /// Shorter ones would blank out words; no real key, token or signature is as short.
  private static let charactersMin = 8
  /// A SHA-256 in hexadecimal.
  private static let signatureCharacters = 64

  init() {}

  init(_ credentials: AWSCredentials) {
    add(credentials.secretAccessKey.unredacted)
    if let token = credentials.sessionToken { add(token.unredacted) }
  }

  /// The same and the signature in an `Authorization` header or a presigned address.
  func adding(signatureIn text: String) -> KnownSecrets {
    guard let tail = text.split(separator: "Signature=", omittingEmptySubsequences: false).dropFirst().first
    else { return self }
    var result = self
    result.add(String(tail.prefix(Self.signatureCharacters)))
    return result
  }

  /// As it is, as it stands in an address, and as it stands in an address that is itself encoded.
  private mutating func add(_ secret: String) {
    guard secret.utf8.count >= Self.charactersMin else { return }
    let encoded = SignatureV4.percentEncoded(secret)
    for text in [secret, encoded, SignatureV4.percentEncoded(encoded)] where !texts.contains(text) {
      texts.append(text)
    }
    texts.sort { $0.utf8.count > $1.utf8.count }
  }

  /// The text with a placeholder for each secret.
  func removed(from text: String) -> String {
    texts.reduce(text) { $0.replacing($1, with: "<redacted>") }
  }
}
