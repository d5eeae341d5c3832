// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The attributes of ICE and DTLS that may stand at session level or in a media section.
public struct TransportAttributes: Hashable, Sendable {
  /// `a=ice-ufrag` (RFC 8839 §5.4).
  public var iceUsernameFragment: String?
  /// `a=ice-pwd` (RFC 8839 §5.4).
  public var icePassword: Secret<String>?
  /// `a=ice-options` (RFC 8839 §5.6).
  public var iceOptions: [String] = []
  /// `a=fingerprint`, one per hash function (RFC 8122 §5).
  public var fingerprints: [FingerprintAttribute] = []
  /// `a=setup` (RFC 8842 §5).
  public var setup: SetupRole?

  /// No attributes.
  public init() {}

  /// These, with what is missing taken from the session's: ICE credentials as a pair, the rest one by one.
  public func completed(by session: TransportAttributes) -> TransportAttributes {
    var result = self
    if iceUsernameFragment == nil && icePassword == nil {
      result.iceUsernameFragment = session.iceUsernameFragment
      result.icePassword = session.icePassword
    }
    if iceOptions.isEmpty { result.iceOptions = session.iceOptions }
    if fingerprints.isEmpty { result.fingerprints = session.fingerprints }
    if setup == nil { result.setup = session.setup }
    return result
  }
}
