// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The address of a STUN or TURN server as configurations write it: `stun:`, `stuns:` (RFC 7064), `turn:`,
/// `turns:` (RFC 7065).
///
///     URL       = scheme ":" host [ ":" port ] [ "?transport=" transport ]
///     scheme    = "stun" / "stuns" / "turn" / "turns"
///     transport = "udp" / "tcp"                               ; turn and turns only
///
/// `turns:` over `udp` means DTLS (RFC 7350). What a URL may have elsewhere (slashes, user, path, fragment, other
/// parameters) has no meaning here and is refused, so that a slip of the pen is seen at once.
public struct ICEServerURL: Hashable, Sendable {
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
  /// How the server is spoken to. `stuns:` counts as TLS, since its URL cannot say.
  public let transport: TURNTransport

  /// The address, where the host is one and not a name.
  public var address: IPAddress? { IPAddress(host) }
}

extension ICEServerURL {
  /// The longest URL that is read: 512 bytes, a name of 255 and room for the rest.
  private static let byteCountMax = 512

  /// Reads a URL; throws a ``ParseError`` that names the part that is wrong.
  public init(parsing text: String) throws(ParseError) {
    guard text.utf8.count <= Self.byteCountMax else { throw .invalid("URL length") }
    guard let colon = text.firstIndex(of: ":") else { throw .invalid("URL scheme") }
    (service, isSecure) = try Self.scheme(text[..<colon])
    let rest = text[text.index(after: colon)...]
    guard !rest.hasPrefix("//") else { throw .invalid("URL slashes") }
    let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let isStream = try parts.count == 2 ? Self.isStream(parts[1], service: service) : nil
    transport =
      switch (service, isSecure) {
      case (.stun, false): .udp
      case (.stun, true): .tls
      case (.turn, false): isStream ?? false ? .tcp : .udp
      case (.turn, true): isStream ?? true ? .tls : .dtls
      }
    let (place, digits) = try Self.split(parts[0])
    host = try Self.host(place)
    port = try Self.port(digits) ?? (isSecure ? 5349 : 3478)
  }

  private static func scheme(_ text: Substring) throws(ParseError) -> (Service, isSecure: Bool) {
    switch text.lowercased() {
    case "stun": (.stun, false)
    case "stuns": (.stun, true)
    case "turn": (.turn, false)
    case "turns": (.turn, true)
    default: throw .invalid("URL scheme")
    }
  }

  /// What follows the question mark: `transport=udp` or `transport=tcp`, in any case (RFC 7065 §3.1).
  private static func isStream(_ query: Substring, service: Service) throws(ParseError) -> Bool {
    let parts = query.lowercased().split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard service == .turn, parts.count == 2, parts[0] == "transport" else {
      throw .invalid("URL parameter")
    }
    switch parts[1] {
    case "udp": return false
    case "tcp": return true
    default: throw .invalid("URL transport")
    }
  }

  /// Host and port; the brackets of an IPv6 address stay.
  private static func split(_ text: Substring) throws(ParseError) -> (host: Substring, port: Substring) {
    guard text.hasPrefix("[") else {
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2 else { throw .invalid("URL brackets of IPv6") }
      return (parts[0], parts.count == 2 ? parts[1] : "")
    }
    guard let end = text.firstIndex(of: "]") else { throw .invalid("URL brackets of IPv6") }
    let rest = text[text.index(after: end)...]
    guard rest.isEmpty || rest.hasPrefix(":") else { throw .invalid("URL port") }
    return (text[...end], rest.dropFirst())
  }

  /// An address in brackets, an IPv4 address, or a name of letters, digits, hyphens, dots and underscores (the
  /// service's names of hosts with two addresses have one).
  private static func host(_ text: Substring) throws(ParseError) -> String {
    if text.hasPrefix("[") {
      guard let ip = IPAddress(String(text.dropFirst().dropLast())), ip.family == .ipv6, ip.scopeID == 0
      else { throw .invalid("URL host") }
      return ip.description
    }
    if let ip = IPAddress(String(text)), ip.family == .ipv4 { return ip.description }
    let name = text.lowercased()
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let isWellFormed = name.utf8.allSatisfy { byte in
      (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) || [0x2d, 0x2e, 0x5f].contains(byte)
    }
    // A name that ends in a number is an address that somebody mistyped.
    guard isWellFormed, (1...ICELimits.hostNameByteCountMax).contains(name.utf8.count),
      labels.dropLast().allSatisfy({ !$0.isEmpty }), let last = labels.last,
      last.isEmpty ? labels.count > 1 : !last.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { throw .invalid("URL host") }
    return name
  }

  /// The number, or `nil` for none: RFC 3986 §3.2.3 lets the digits after the colon be missing.
  private static func port(_ digits: Substring) throws(ParseError) -> UInt16? {
    guard !digits.isEmpty else { return nil }
    guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits), port != 0 else {
      throw .invalid("URL port")
    }
    return port
  }
}

extension ICEServerURL: CustomStringConvertible {
  /// The URL in its full form: with port, and for TURN with its transport.
  public var description: String {
    let place = address?.family == .ipv6 ? "[\(host)]" : host
    let start = "\(service.rawValue)\(isSecure ? "s" : ""):\(place):\(port)"
    return service == .turn ? start + "?transport=\(transport.isStream ? "tcp" : "udp")" : start
  }
}
