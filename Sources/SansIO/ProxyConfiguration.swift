// SPDX-License-Identifier: Apache-2.0

/// An HTTP proxy that opens tunnels by CONNECT (RFC 9110 §9.3.6).
public struct ProxyServer: Hashable, Sendable {
  /// The proxy's host name or address, without brackets.
  public let host: String
  /// The proxy's port.
  public let port: UInt16
  /// The value of Proxy-Authorization (RFC 7617), where the proxy's address names a user.
  public let authorization: Secret<String>?

  /// Names a proxy.
  public init(host: String, port: UInt16, authorization: Secret<String>? = nil) {
    self.host = host
    self.port = port
    self.authorization = authorization
  }

  /// Parses `http://user:password@host:port`.
  ///
  /// The scheme may be left out; without a port it is 80. User and password may be percent-encoded. Throws for
  /// other schemes: a proxy that we cannot speak to must not be passed by.
  public init(parsing text: String) throws(ParseError) {
    var rest = text[...]
    if let colon = text.firstRange(ofASCII: "://") {
      guard text[..<colon.lowerBound].lowercased() == "http" else { throw .invalid("proxy scheme") }
      rest = text[colon.upperBound...]
    }
    rest = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    var authorization: Secret<String>?
    if let at = rest.lastIndex(of: "@") {
      guard let user = Self.percentDecoded(rest[..<at]) else { throw .invalid("proxy user") }
      let credentials = user.contains(UInt8(ascii: ":")) ? user : user + [UInt8(ascii: ":")]
      authorization = Secret("Basic " + Base64.text(of: credentials))
      rest = rest[rest.index(after: at)...]
    }
    guard let (host, port) = HostAndPort.split(rest), !host.isEmpty else { throw .invalid("proxy host") }
    self.init(host: host, port: port ?? 80, authorization: authorization)
  }

  private static func percentDecoded(_ text: Substring) -> [UInt8]? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      let digits = rest.prefix(2)
      guard digits.count == 2, digits.allSatisfy({ $0 != 0x2b && $0 != 0x2d }),
        let value = UInt8(Substring(digits), radix: 16)
      else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return bytes
  }
}

/// Which connections go through a proxy, in the terms of the environment of a process.
///
/// `https_proxy` names the proxy, `all_proxy` one for lack of it; small letters win over capital ones, and an
/// empty value counts as none. `no_proxy` lists what is reached directly, separated by commas or spaces: `*` for
/// everything, a host name for itself and all names below it (a leading dot or `*.` changes nothing), an address,
/// a range as in `10.0.0.0/8`; each name or address may carry a port, and then means that port alone.
public struct ProxyConfiguration: Hashable, Sendable {
  /// The proxy, if there is one.
  public let server: ProxyServer?
  private let exceptions: [Exception]

  private enum Exception: Hashable, Sendable {
    case everything
    case name(String, port: UInt16?)
    case address(IPAddress, port: UInt16?)
    case range(IPPrefix)
  }

  /// No proxy at all.
  public static let none = ProxyConfiguration(server: nil)

  /// A proxy for everything but the hosts that `exceptions` lists in the form of `no_proxy`.
  public init(server: ProxyServer?, exceptions: String = "") {
    self.server = server
    self.exceptions = exceptions.split { $0 == "," || $0 == " " || $0 == "\t" }.compactMap(Self.exception)
  }

  /// What the variables of an environment say. Throws when they name a proxy that cannot be used.
  public init(environment: [String: String]) throws(ParseError) {
    func value(_ name: String) -> String? {
      let values = [environment[name], environment[name.uppercased()]]
      return values.compactMap(\.self).first { !$0.isEmpty }
    }
    let exceptions = value("no_proxy") ?? ""
    guard let text = value("https_proxy") ?? value("all_proxy") else {
      self.init(server: nil, exceptions: exceptions)
      return
    }
    self.init(server: try ProxyServer(parsing: text), exceptions: exceptions)
  }

  /// The proxy for connections to a host (a name, or an address with or without brackets), or `nil` where they go
  /// directly.
  public func server(forHost host: String, port: UInt16) -> ProxyServer? {
    guard let server else { return nil }
    let name = HostAndPort.normalized(host)
    let address = IPAddress(name)
    let isException = exceptions.contains { exception in
      switch exception {
      case .everything: true
      case .name(let suffix, let only): (only ?? port) == port && Self.isName(name, below: suffix)
      case .address(let other, let only): (only ?? port) == port && address == other
      case .range(let prefix): address.map(prefix.contains) ?? false
      }
    }
    return isException ? nil : server
  }

  private static func isName(_ name: String, below suffix: String) -> Bool {
    name == suffix || name.hasSuffix("." + suffix)
  }

  private static func exception(_ text: Substring) -> Exception? {
    if text == "*" { return .everything }
    if text.contains("/") { return IPPrefix(String(text)).map(Exception.range) }
    guard let (host, port) = HostAndPort.split(text) else { return nil }
    var name = HostAndPort.normalized(host)[...]
    if let address = IPAddress(String(name)) { return .address(address, port: port) }
    if name.hasPrefix("*.") {
      name = name.dropFirst(2)
    } else if name.hasPrefix(".") {
      name = name.dropFirst()
    }
    return name.isEmpty ? nil : .name(String(name), port: port)
  }
}

/// The parts of `host`, `host:port`, `[address]:port` and bare IPv6 addresses.
private enum HostAndPort {
  static func split(_ text: Substring) -> (host: String, port: UInt16?)? {
    let colons = text.count { $0 == ":" }
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      let host = String(text[text.index(after: text.startIndex)..<end])
      return port(in: text[text.index(after: end)...]).map { (host, $0) }
    }
    guard colons == 1, let colon = text.firstIndex(of: ":") else { return (String(text), nil) }
    return port(in: text[colon...]).map { (String(text[..<colon]), $0) }
  }

  /// The port behind a colon, if there is anything; `nil` where there is something else.
  private static func port(in text: Substring) -> UInt16?? {
    if text.isEmpty || text == ":" { return .some(nil) }
    guard text.hasPrefix(":"), text.dropFirst().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let port = UInt16(text.dropFirst()), port != 0
    else { return nil }
    return .some(port)
  }

  /// Small letters, without brackets and without the dot that ends a full name.
  static func normalized(_ host: String) -> String {
    var name = host.lowercased()[...]
    if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
    if name.hasSuffix(".") { name = name.dropLast() }
    return String(name)
  }
}

extension String {
  fileprivate func firstRange(ofASCII pattern: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(pattern) { return start..<index(start, offsetBy: pattern.count) }
      start = index(after: start)
    }
    return nil
  }
}
