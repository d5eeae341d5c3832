// SPDX-License-Identifier: Apache-2.0

public import SansIO

extension ICEServerURL {
  /// Reads a URL; throws a ``ParseError`` that names what is wrong.
  public init(parsing text: String) throws(ParseError) {
    let parts = text.split(separator: ":", maxSplits: 1)
    guard parts.count == 2 else { throw .invalid("scheme") }
    service = parts[0].hasPrefix("turn") ? .turn : .stun
    isSecure = parts[0].hasSuffix("s")
    let rest = parts[1].split(separator: "?")
    let isTCP = text.hasSuffix("tcp")
    transport = isSecure ? (isTCP || rest.count == 1 ? .tls : .dtls) : (isTCP ? .tcp : .udp)
    let place = (rest.first ?? "").split(separator: ":")
    host = String(place.first ?? "")
    port = place.count == 2 ? UInt16(place[1]) ?? 3478 : isSecure ? 5349 : 3478
  }

  /// The URL in its usual form.
  public var description: String { "\(service):\(host):\(port)" }
}

extension CandidateGatherer {
  /// Takes the servers that are to be used from now on. Relays that run live on under the credentials that made
  /// them; spares are replaced.
  public mutating func update(servers: [ICEServer], at now: Instant) {}
  /// Takes a shared UDP socket: its address is asked for and kept alive.
  public mutating func addSocket(_ socket: LocalSocket, at now: Instant) {}
  /// Forgets a shared socket.
  public mutating func removeSocket(id: UInt32, at now: Instant) {}
  /// Asks for a relay of each family for an owner. A spare is handed out at once.
  public mutating func requestRelay(for owner: Int, at now: Instant) {}
  /// Gives an owner's relays back.
  public mutating func releaseRelays(of owner: Int, at now: Instant) {}
  /// Gives everything back and asks for nothing more; close actions follow.
  public mutating func shutdown(at now: Instant) {}
  /// Whether all was given back after ``shutdown(at:)``.
  public var isShutDown: Bool { true }
  /// The next action, oldest first. The shell takes all after every call.
  public mutating func pollAction() -> Action? { nil }
  /// The next event, oldest first.
  public mutating func pollEvent() -> Event? { nil }
  /// Answers ``Action/resolve(host:)``: the name's addresses in the resolver's order; none if it could not.
  public mutating func resolved(host: String, to addresses: [IPAddress], at now: Instant) {}
  /// Tells that a connection stands, and our own address on it.
  public mutating func connectionOpened(
    _ id: ServerConnectionID, localAddress: TransportAddress, at now: Instant
  ) {}
  /// Tells that a connection could not be opened, or was lost later. Its number has no meaning any more.
  public mutating func connectionFailed(_ id: ServerConnectionID, reason: String, at now: Instant) {}
  /// Takes a response that arrived on a shared socket; its transaction id begins with ``transactionPrefix``.
  public mutating func receive(_ datagram: RawSpan, on route: Route, at now: Instant) {}
  /// Takes a datagram of a server, or one frame of a stream (``STUNStreamFramer``), and gives what a peer sent, if
  /// that is what it was.
  @_lifetime(copy frame)
  public mutating func receive(
    _ frame: RawSpan, on connection: ServerConnectionID, at now: Instant
  ) -> RelayedDatagram? { nil }
  /// Writes a datagram for a peer in the form that the relay's server takes, and says over which connection it
  /// goes.
  ///
  /// `nil` where nothing was written: the datagram is held until the peer has a permission and then comes out of
  /// ``pollTransmit(into:at:)``, or it is dropped and counted. The lent memory has room for the datagram and
  /// ``TURNLimits/overheadByteCountMax`` bytes.
  public mutating func wrap(
    _ datagram: RawSpan, to peer: TransportAddress, via relaySocketID: UInt32,
    into output: inout OutputRawSpan, at now: Instant
  ) -> ServerConnectionID? { nil }
  /// Writes one datagram or frame and says where it goes, or returns `nil` when there is none. The lent memory has
  /// room for ``RelayLimits/messageByteCountMax`` bytes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Outgoing? { nil }
  /// Acts on everything that is due.
  public mutating func handleTimeout(at now: Instant) {}
}
