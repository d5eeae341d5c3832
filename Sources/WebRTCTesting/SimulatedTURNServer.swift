// SPDX-License-Identifier: Apache-2.0

public import ICE
public import SansIO

/// A STUN and TURN server of the simulated Internet: ``TURNServerCore`` with sockets and connections of a network.
///
/// It takes UDP and TCP at port 3478, and what stands for TLS at 5349 and 443. Its relayed addresses are its own,
/// at ports from 49152 up.
public final class SimulatedTURNServer: SimulatedNode {
  /// How a client may speak to it.
  public struct Way: Hashable, Sendable, CustomStringConvertible {
    /// The transport to the server.
    public let transport: TURNTransport
    /// The server's port.
    public let port: UInt16

    /// TURN over UDP, and STUN.
    public static let udp = Way(transport: .udp, port: 3478)
    /// TURN over TCP.
    public static let tcp = Way(transport: .tcp, port: 3478)
    /// TURN over TLS at its own port.
    public static let tls = Way(transport: .tls, port: 5349)
    /// TURN over TLS at the web's port, which the strictest firewalls let through.
    public static let https = Way(transport: .tls, port: 443)
    /// The transport and the port.
    public var description: String { "\(transport.rawValue) \(port)" }

    /// All of them.
    public static let all = [udp, tcp, tls, https]
  }

  /// A connection of a client.
  private final class Connection {
    let stream: StreamID
    let route: Route
    var framer = STUNStreamFramer()

    init(stream: StreamID, route: Route) {
      self.stream = stream
      self.route = route
    }
  }

  private struct Datagram {
    let bytes: [UInt8]
    let source: TransportAddress
    let destination: TransportAddress
  }

  /// The server's decisions.
  public private(set) var core: TURNServerCore
  /// Its addresses, one of each family at most.
  public let addresses: [IPAddress]
  /// Unix time at the beginning of a run, from which the time of user names counts.
  public static let unixTimeAtOrigin = TimeDelta.seconds(1_700_000_000)

  private let configuration: TURNServerCore.Configuration
  private var random: RandomSource
  private var connections: [StreamID: Connection] = [:]
  private var streams: [Route: StreamID] = [:]
  private var relays: [TransportAddress: RelayID] = [:]
  private var relayedAddresses: [RelayID: TransportAddress] = [:]
  private var nextRelayPort: UInt16 = 49_152
  private var nextSocketID: UInt32 = 0x1_0000
  private var datagrams: [Datagram] = []
  private var closing: [StreamID] = []
  private var secret: Secret<[UInt8]> { configuration.secret }

  /// Makes a server that listens at these addresses on the Internet.
  public init(
    addresses: [IPAddress], in network: inout SimulatedNetwork, seed: UInt64,
    configure: (inout TURNServerCore.Configuration) -> Void = { _ in }
  ) {
    var random = RandomSource(seed: seed)
    var configuration = TURNServerCore.Configuration(
      realm: "simulation", secret: Secret(random.bytes(32)), unixTimeAtOrigin: Self.unixTimeAtOrigin)
    configuration.families = Set(addresses.map(\.family))
    configure(&configuration)
    core = TURNServerCore(configuration: configuration, random: random.split())
    self.addresses = addresses
    self.configuration = configuration
    self.random = random
    for ip in addresses {
      network.attach(ip, to: .internet)
      for way in Way.all where way.transport != .udp {
        network.listen(on: TransportAddress(ip: ip, port: way.port))
      }
    }
  }

  /// What a client's configuration says of this server.
  ///
  /// - Parameter lifetime: how long new requests under these credentials are good for.
  public func iceServer(
    ways: [Way] = [.udp], identity: String = "peer", lifetime: TimeDelta = .seconds(3600),
    at now: Instant = .zero
  ) -> ICEServer {
    let expiry = (now + Self.unixTimeAtOrigin + lifetime).nanoseconds / 1_000_000_000
    let credentials = TURNCredentials(identity: identity, expiry: expiry, secret: secret)
    let texts = addresses.flatMap { ip in
      let host = ip.family == .ipv6 ? "[\(ip)]" : "\(ip)"
      return ways.map { way in
        "\(way.transport == .tls ? "turns" : "turn"):\(host):\(way.port)?transport=\(way.transport == .udp ? "udp" : "tcp")"
      }
    }
    return ICEServer(
      urls: texts.compactMap { try? ICEServerURL(parsing: $0) }, username: credentials.username,
      credential: credentials.password)
  }

  /// What a client's configuration says of this server where it is to be asked for addresses only.
  public var stunServer: ICEServer {
    let texts = addresses.map { $0.family == .ipv6 ? "stun:[\($0)]:3478" : "stun:\($0):3478" }
    return ICEServer(urls: texts.compactMap { try? ICEServerURL(parsing: $0) })
  }

  /// The server starts anew: its allocations, connections and nonces are gone, its secret stays.
  public func restart() {
    core = TURNServerCore(configuration: configuration, random: random.split())
    closing += connections.keys.sorted { $0.number < $1.number }
    connections = [:]
    streams = [:]
    relays = [:]
    relayedAddresses = [:]
  }

  // MARK: Being driven

  /// When an allocation ends.
  public var nextDeadline: Instant? { core.nextDeadline }

  /// Takes a datagram of a client, or one of a peer at a relayed address.
  public func receive(_ delivery: SimulatedNetwork.Delivery, at now: Instant) -> Bool {
    guard delivery.site == .internet, let place = addresses.firstIndex(of: delivery.destination.ip) else {
      return false
    }
    if delivery.destination.port == Way.udp.port {
      let socket = LocalSocket(id: UInt32(place), address: delivery.destination)
      receive(
        delivery.bytes, on: Route(receivedOn: socket, from: delivery.source), isStream: false, at: now)
    } else if let relay = relays[delivery.destination] {
      var transmit: Transmit?
      let bytes = [UInt8](writing: delivery.bytes.count + TURNLimits.overheadByteCountMax) { out in
        transmit = core.relay(delivery.bytes.rawSpan, from: delivery.source, on: relay, into: &out, at: now)
      }
      if let transmit { send(bytes, on: transmit.route) }
    }
    return true
  }

  /// Takes connections of clients and the frames that come over them.
  public func receive(_ event: StreamEvent, at now: Instant) -> Bool {
    guard event.end == .server, addresses.contains(event.address.ip) else { return false }
    switch event.kind {
    case .accepted(let source, let address):
      let socket = LocalSocket(id: nextSocketID, address: address)
      nextSocketID += 1
      let connection = Connection(stream: event.stream, route: Route(receivedOn: socket, from: source))
      connections[event.stream] = connection
      streams[connection.route] = event.stream
    case .received(let bytes): receive(bytes, on: event.stream, at: now)
    case .opened, .refused: break
    case .closed: forget(event.stream)
    }
    return true
  }

  private func receive(_ bytes: [UInt8], on stream: StreamID, at now: Instant) {
    guard let connection = connections[stream] else { return }
    do throws(ParseError) {
      try connection.framer.append(bytes.rawSpan)
      while let frame = try connection.framer.nextFrame() {
        receive(frame, on: connection.route, isStream: true, at: now)
      }
    } catch {
      forget(stream)
      closing.append(stream)
    }
  }

  private func receive(_ bytes: [UInt8], on route: Route, isStream: Bool, at now: Instant) {
    guard let forward = core.receive(bytes.rawSpan, on: route, isStream: isStream, at: now),
      let relayed = relayedAddresses[forward.relay]
    else { return }
    datagrams.append(
      Datagram(bytes: [UInt8](copying: forward.payload), source: relayed, destination: forward.peer))
  }

  private func forget(_ stream: StreamID) {
    guard let connection = connections.removeValue(forKey: stream) else { return }
    streams[connection.route] = nil
    core.disconnected(connection.route)
  }

  /// Lets allocations end whose time is over.
  public func handleTimeout(at now: Instant) { core.handleTimeout(at: now) }

  // MARK: Sending

  private var frames: [(stream: StreamID, bytes: [UInt8])] = []

  private func send(_ bytes: [UInt8], on route: Route) {
    if let stream = streams[route] {
      frames.append((stream, bytes))
    } else {
      datagrams.append(Datagram(bytes: bytes, source: route.socket.address, destination: route.remote))
    }
  }

  /// Opens and closes relays and sends what is to be sent.
  public func drain(into network: inout SimulatedNetwork, at now: Instant) {
    while let action = core.pollAction() {
      switch action {
      case .openRelay(let relay, let family): open(relay, family, at: now)
      case .closeRelay(let relay):
        if let address = relayedAddresses.removeValue(forKey: relay) { relays[address] = nil }
      }
    }
    var isDone = false
    while !isDone {
      var transmit: Transmit?
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { out in
        transmit = core.pollTransmit(into: &out, at: now)
      }
      if let transmit { send(bytes, on: transmit.route) } else { isDone = true }
    }
    for datagram in datagrams {
      network.send(datagram.bytes, from: datagram.source, to: datagram.destination, at: now)
    }
    for frame in frames { network.send(frame.bytes, on: frame.stream, from: .server, at: now) }
    for stream in closing { network.close(stream, from: .server, at: now) }
    datagrams = []
    frames = []
    closing = []
  }

  private func open(_ relay: RelayID, _ family: IPAddress.Family, at now: Instant) {
    guard let ip = addresses.first(where: { $0.family == family }), nextRelayPort < .max else {
      return core.relayFailed(relay, at: now)
    }
    let address = TransportAddress(ip: ip, port: nextRelayPort)
    nextRelayPort += 1
    relays[address] = relay
    relayedAddresses[relay] = address
    core.relayOpened(relay, address: address, at: now)
  }
}

extension STUNStreamFramer {
  /// A copy of the next frame, if it is there in whole.
  mutating func nextFrame() throws(ParseError) -> [UInt8]? {
    guard let frame = try next() else { return nil }
    return [UInt8](copying: frame)
  }
}
