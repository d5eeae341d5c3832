// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The keys that requests are signed with.
///
/// A description of this value shows the access key's identifier, which is no secret, and nothing else.
public struct AWSCredentials: Hashable, Sendable {
  /// The identifier of the key; it travels in every request in clear.
  public var accessKeyID: String
  /// The key that signatures are derived from; it never leaves the process.
  public var secretAccessKey: Secret<String>
  /// The token of temporary credentials; `nil` for long-lived keys.
  public var sessionToken: Secret<String>?
  /// When temporary credentials end; `nil` when they do not or when it is not known.
  public var expiration: UnixTime?

  /// Joins the parts of one set of credentials.
  public init(
    accessKeyID: String,
    secretAccessKey: Secret<String>,
    sessionToken: Secret<String>? = nil,
    expiration: UnixTime? = nil
  ) {
    self.accessKeyID = accessKeyID
    self.secretAccessKey = secretAccessKey
    self.sessionToken = sessionToken
    self.expiration = expiration
  }
}
