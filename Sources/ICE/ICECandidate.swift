// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A transport address that one side offers for checks, as a description or a trickled line names it
/// (RFC 8445 §5.3, RFC 8839 §5.1).
public struct ICECandidate: Hashable, Sendable {
  /// How the address was found.
  public enum Kind: String, Hashable, Sendable {
    /// An address of the host itself.
    case host
    /// An address that a server saw.
    case serverReflexive = "srflx"
    /// An address that the peer saw.
    case peerReflexive = "prflx"
    /// An address of a relay.
    case relayed = "relay"

    /// The type preference of RFC 8445 §5.1.2.2's recommendation.
    public var typePreference: UInt32 {
      switch self {
      case .host: 126
      case .peerReflexive: 110
      case .serverReflexive: 100
      case .relayed: 0
      }
    }
  }

  /// Where the candidate is.
  public enum Host: Hashable, Sendable {
    /// An address.
    case ip(IPAddress)
    /// A name that stands for one: `.local` of mDNS. Checks wait for its address; the peer's own checks may
    /// reveal it first.
    case name(String)
  }

  /// How the candidate is spoken to. Checks use UDP, and connections to candidates that accept them.
  public enum TransportProtocol: Hashable, Sendable {
    /// UDP.
    case udp
    /// TCP, opens connections (RFC 6544).
    case tcpActive
    /// TCP, accepts connections.
    case tcpPassive
    /// TCP, opens at the same time as the peer.
    case tcpSimultaneousOpen

    /// The `tcptype` of RFC 6544 §4.5.
    var tcpType: String? {
      switch self {
      case .udp: nil
      case .tcpActive: "active"
      case .tcpPassive: "passive"
      case .tcpSimultaneousOpen: "so"
      }
    }
  }

  /// Equal for candidates that are likely to fail or succeed together (RFC 8445 §5.1.1.3); 1 to 32 ice-chars.
  public var foundation: String
  /// 1 for RTP and all that is bundled with it, 1 to 256.
  public var component: UInt16
  /// How it is spoken to.
  public var transport: TransportProtocol
  /// Higher is better (RFC 8445 §5.1.2).
  public var priority: UInt32
  /// Where it is.
  public var host: Host
  /// Its port.
  public var port: UInt16
  /// How it was found.
  public var kind: Kind
  /// The address that it was found from: diagnostics only.
  public var relatedAddress: TransportAddress?
  /// The user fragment of the session that it belongs to, where the line says so (RFC 8838 §4.4 and its
  /// `ufrag` extension).
  public var usernameFragment: String?
  /// How we speak to the server of a relayed candidate of our own (W3C RTCIceCandidate's `relayProtocol`); the
  /// peer does not learn it.
  public var relayProtocol: TURNTransport?

  /// Makes a candidate of its parts.
  public init(
    foundation: String, component: UInt16 = 1, transport: TransportProtocol = .udp, priority: UInt32,
    host: Host, port: UInt16, kind: Kind, relatedAddress: TransportAddress? = nil,
    usernameFragment: String? = nil
  ) {
    self.foundation = foundation
    self.component = component
    self.transport = transport
    self.priority = priority
    self.host = host
    self.port = port
    self.kind = kind
    self.relatedAddress = relatedAddress
    self.usernameFragment = usernameFragment
  }

  /// The address to send to, unless it is a name.
  public var address: TransportAddress? {
    guard case .ip(let ip) = host else { return nil }
    return TransportAddress(ip: ip, port: port)
  }

  /// The priority formula of RFC 8445 §5.1.2.1; `component` is 1 to 256.
  public static func priority(kind: Kind, localPreference: UInt16, component: UInt16) -> UInt32 {
    priority(typePreference: kind.typePreference, localPreference: localPreference, component: component)
  }

  static func priority(typePreference: UInt32, localPreference: UInt16, component: UInt16) -> UInt32 {
    typePreference << 24 | UInt32(localPreference) << 8 | (256 - min(UInt32(component), 256))
  }

  /// The type preference of a host candidate over TCP: below all UDP but relays, as browsers have it
  /// (RFC 6544 §4.2).
  static let tcpHostTypePreference: UInt32 = 90
  /// The same for peer-reflexive ones.
  static let tcpPeerReflexiveTypePreference: UInt32 = 80
}

extension ICECandidate {
  /// Parses `candidate:...`, with or without `a=` before it, of at most 1,024 bytes (RFC 8839 §5.1).
  ///
  /// Extensions that are not known are skipped. Throws where a field is missing or malformed, and for a
  /// transport or candidate type that is not known.
  public init(parsing line: String) throws(ParseError) {
    guard line.utf8.count <= ICELimits.candidateLineByteCountMax else { throw .invalid("candidate length") }
    var text = line[...]
    if text.hasPrefix("a=") { text = text.dropFirst(2) }
    guard text.hasPrefix("candidate:") else { throw .invalid("candidate attribute") }
    let fields = text.dropFirst("candidate:".count).split { $0 == " " || $0.isNewline }
    guard fields.count >= 8 else { throw .truncated }
    guard (1...32).contains(fields[0].utf8.count) else { throw .invalid("foundation") }
    guard let component = UInt16(fields[1]), (1...256).contains(component) else {
      throw .invalid("component")
    }
    guard let priority = UInt32(fields[3]) else { throw .invalid("priority") }
    guard let port = UInt16(fields[5]) else { throw .invalid("port") }
    guard fields[6].lowercased() == "typ" else { throw .invalid("typ") }
    guard let kind = Kind(rawValue: fields[7].lowercased()) else { throw .invalid("candidate type") }
    let extensions = Self.pairs(of: fields[8...])
    foundation = String(fields[0])
    self.component = component
    self.priority = priority
    host = try Self.host(fields[4])
    self.port = port
    self.kind = kind
    transport = try Self.transport(fields[2], tcpType: extensions["tcptype"])
    usernameFragment = extensions["ufrag"].map { String($0) }
    if let ip = extensions["raddr"].flatMap({ IPAddress(String($0)) }),
      let port = extensions["rport"].flatMap({ UInt16($0) })
    {
      relatedAddress = TransportAddress(ip: ip, port: port)
    }
  }

  /// Names and values after the candidate's type; the first of a name counts, a name without value is left
  /// out.
  private static func pairs(of fields: ArraySlice<Substring>) -> [Substring: Substring] {
    var result: [Substring: Substring] = [:]
    var index = fields.startIndex
    while index + 1 < fields.endIndex {
      if result[fields[index]] == nil { result[fields[index]] = fields[index + 1] }
      index += 2
    }
    return result
  }

  private static func host(_ text: Substring) throws(ParseError) -> Host {
    if let ip = IPAddress(String(text)) { return .ip(ip) }
    let isName = text.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
      default: false
      }
    }
    guard isName, text.utf8.count <= ICELimits.hostNameByteCountMax, text.contains(where: \.isLetter) else {
      throw .invalid("address")
    }
    return .name(String(text))
  }

  private static func transport(
    _ name: Substring, tcpType: Substring?
  ) throws(ParseError) -> TransportProtocol {
    switch (name.lowercased(), tcpType) {
    case ("udp", _): return .udp
    case ("tcp", "active"): return .tcpActive
    case ("tcp", "passive"): return .tcpPassive
    case ("tcp", "so"): return .tcpSimultaneousOpen
    default: throw .invalid("transport")
    }
  }

  /// `candidate:... typ host ...`, without `a=` (RFC 8839 §5.1).
  public var attributeValue: String {
    let place =
      switch host {
      case .ip(let ip): ip.description
      case .name(let name): name
      }
    let protocolName = transport == .udp ? "udp" : "tcp"
    var text = "candidate:\(foundation) \(component) \(protocolName) \(priority) \(place) \(port)"
    text += " typ \(kind.rawValue)"
    if let relatedAddress { text += " raddr \(relatedAddress.ip) rport \(relatedAddress.port)" }
    if let tcpType = transport.tcpType { text += " tcptype \(tcpType)" }
    if let usernameFragment { text += " ufrag \(usernameFragment)" }
    return text
  }
}
