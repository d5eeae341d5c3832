// SPDX-License-Identifier: Apache-2.0

/// An address of the service: scheme, host, port, path and query, exactly as they are signed and sent.
///
/// Nothing is normalised but the case of scheme and host, because a signature covers the bytes.
public struct ServiceURL: Hashable, Sendable {
  /// `https`, `http`, `wss` or `ws`.
  public var scheme: String
  /// The host name or address, without brackets, lower case.
  public var host: String
  /// The port if the address names one other than the scheme's own.
  public var port: Int?
  /// The path; never empty.
  public var path: String
  /// What follows the question mark, encoded; `nil` without one.
  public var query: String?

  /// Longest address that is read: presigned ones with a session token stay below.
  public static let charactersMax = 8192

  /// Reads an absolute address; `nil` for other schemes, user names, broken ports, blanks and control characters.
  public init?(_ text: String) {
    guard text.utf8.count <= Self.charactersMax, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
      let separator = text.firstIndex(of: ":")
    else { return nil }
    scheme = text[..<separator].lowercased()
    guard ["https", "http", "wss", "ws"].contains(scheme), text[separator...].hasPrefix("://") else {
      return nil
    }
    let rest = text[separator...].dropFirst(3).prefix { $0 != "#" }
    let authorityText = rest.prefix { $0 != "/" && $0 != "?" }
    guard let (name, number) = Self.hostAndPort(authorityText) else { return nil }
    host = name
    port = number == (Self.isSecure(scheme) ? 443 : 80) ? nil : number
    let target = rest.dropFirst(authorityText.count)
    (path, query) = Self.pathAndQuery(target)
  }

  /// Joins parts that are known to be right.
  public init(scheme: String, host: String, port: Int? = nil, path: String = "/", query: String? = nil) {
    self.scheme = scheme
    self.host = host
    self.port = port == (Self.isSecure(scheme) ? 443 : 80) ? nil : port
    self.path = path.isEmpty ? "/" : path
    self.query = query
  }

  /// Whether TLS is used.
  public var isSecure: Bool { Self.isSecure(scheme) }
  /// The port to connect to.
  public var effectivePort: Int { port ?? (isSecure ? 443 : 80) }
  /// The value of the `Host` header.
  public var authority: String {
    let name = host.contains(":") ? "[\(host)]" : host
    return port.map { "\(name):\($0)" } ?? name
  }
  /// The request line's target.
  public var target: String { query.map { "\(path)?\($0)" } ?? path }
  /// The whole address; may hold a signature: not for logs when there is a query.
  public var text: String { "\(scheme)://\(authority)\(target)" }
  /// Scheme and authority, for logs.
  public var origin: String { "\(scheme)://\(authority)" }
  /// The query's decoded items; `nil` if it is malformed.
  public var queryItems: [(name: String, value: String)]? { Self.queryItems(of: query ?? "") }

  /// The same address with another path below this one's.
  public func appending(path suffix: String) -> ServiceURL {
    var result = self
    result.path = (path.hasSuffix("/") ? String(path.dropLast()) : path) + suffix
    result.query = nil
    return result
  }

  /// Cuts a request target in path and query.
  public static func pathAndQuery(_ target: some StringProtocol) -> (path: String, query: String?) {
    let path = target.prefix { $0 != "?" }
    let query = path.count == target.count ? nil : String(target.dropFirst(path.count + 1))
    return (path.isEmpty ? "/" : String(path), query)
  }

  /// Most items that are read of a query: the service's addresses have at most nine.
  public static let queryItemsMax = 64

  /// Decodes a query; `nil` for a broken escape, for bytes that are not UTF-8 and for too many items.
  public static func queryItems(of query: String) -> [(name: String, value: String)]? {
    var items: [(name: String, value: String)] = []
    for item in query.split(separator: "&") {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard items.count < queryItemsMax, let name = SignatureV4.percentDecoded(parts[0]),
        let value = SignatureV4.percentDecoded(parts.count > 1 ? parts[1] : "")
      else { return nil }
      items.append((name, value))
    }
    return items
  }

  private static func isSecure(_ scheme: String) -> Bool { scheme == "https" || scheme == "wss" }

  private static func hostAndPort(_ text: Substring) -> (host: String, port: Int?)? {
    var name = text
    var portText: Substring?
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      name = text[text.index(after: text.startIndex)..<end]
      let rest = text[text.index(after: end)...]
      guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
      portText = rest.isEmpty ? nil : rest.dropFirst()
    } else if let colon = text.firstIndex(of: ":") {
      name = text[..<colon]
      portText = text[text.index(after: colon)...]
    }
    let isLiteral = text.hasPrefix("[")
    let allowed = { (byte: UInt8) in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
        true
      case UInt8(ascii: ":"): isLiteral
      default: false
      }
    }
    guard !name.isEmpty, name.utf8.count <= 253, name.utf8.allSatisfy(allowed) else { return nil }
    guard let portText else { return (name.lowercased(), nil) }
    guard portText.utf8.count <= 5, portText.utf8.allSatisfy({ (48...57).contains($0) }),
      let port = Int(portText), (1...65_535).contains(port)
    else { return nil }
    return (name.lowercased(), port)
  }
}

extension ServiceURL: CustomStringConvertible, CustomDebugStringConvertible {
  /// The address without its query, which may hold a signature.
  public var description: String { origin + path + (query == nil ? "" : "?<redacted>") }
  /// The address without its query.
  public var debugDescription: String { description }
}
