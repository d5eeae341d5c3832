// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The address of a STUN or TURN server as configurations write it: `stun:`, `stuns:` (RFC 7064), `turn:`,
/// `turns:` (RFC 7065).
///
///     turnURI   = scheme ":" host [ ":" port ] [ "?transport=" transport ]
///     scheme    = "turn" / "turns"
///     transport = "udp" / "tcp"
///
/// `turns:` over `udp` means DTLS (RFC 7350). Everything else that a URL may have elsewhere (user, path, fragment,
/// other parameters) has no meaning here and is refused, so that a slip of the pen is seen at once.
public struct ICEServerURL: Hashable, Sendable, CustomStringConvertible {
  /// What a server is asked for.
  public enum Service: String, Hashable, Sendable {
    /// Our address as others see it.
    case stun
    /// A relay.
    case turn
  }

  /// What the server is asked for.
  public let service: Service
  /// Whether TLS or DTLS protects the way to the server.
  public let isSecure: Bool
  /// A name in lower case, or an address in its usual form, IPv6 without brackets.
  public let host: String
  /// The port: 3478, or 5349 where the way is protected, unless the URL says otherwise.
  public let port: UInt16
  /// How the server is spoken to.
  public let transport: TURNTransport

  /// The address, where the host is one and not a name.
  public var address: IPAddress? { IPAddress(host) }
}
