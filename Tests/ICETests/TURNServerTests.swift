// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// A server by itself, asked by hand.
struct TURNServerBench: ~Copyable {
  var server: TURNServerCore
  var now = Instant.zero
  var sent: [(route: Route, bytes: [UInt8])] = []
  var actions: [TURNServerCore.Action] = []
  var forwards: [(peer: TransportAddress, payload: [UInt8])] = []
  private var nextID: UInt64 = 1
  private var nextPort: UInt16 = 50_000
  private let socket: LocalSocket

  init(_ configure: (inout TURNServerCore.Configuration) -> Void = { _ in }) throws {
    socket = LocalSocket(id: 1, address: try address("203.0.113.1", 3478))
    server = TURNServerCore(configuration: TURNWorld.configuration(configure), random: RandomSource(seed: 1))
  }

  func route(from: TransportAddress) -> Route { Route(receivedOn: socket, from: from) }

  /// Hands the server a message; gives the answers to it.
  @discardableResult
  mutating func ask(_ bytes: [UInt8], from client: TransportAddress, isStream: Bool = false) -> [[UInt8]] {
    let before = sent.count
    if let forward = server.receive(bytes.rawSpan, on: route(from: client), isStream: isStream, at: now) {
      forwards.append((forward.peer, [UInt8](copying: forward.payload)))
    }
    drain()
    return sent[before...].map(\.bytes)
  }

  mutating func drain() {
    while let action = server.pollAction() {
      actions.append(action)
      guard case .openRelay(let relay, _) = action else { continue }
      let address = TransportAddress(ip: socket.address.ip, port: nextPort)
      nextPort += 1
      server.relayOpened(relay, address: address, at: now)
    }
    while true {
      var route: Route?
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        route = server.pollTransmit(into: &output, at: now)?.route
      }
      guard let route else { return }
      sent.append((route, bytes))
    }
  }

  mutating func transactionID() -> STUNTransactionID {
    nextID += 1
    return STUNTransactionID(prefix: 0, suffix: nextID)
  }

  /// Makes a request, with credentials once the server gave this client a nonce.
  mutating func request(
    _ method: STUNMethod, _ login: TURNLogin?, _ attributes: (inout STUNMessageBuilder) -> Void
  ) -> [UInt8] {
    var builder = STUNMessageBuilder(
      .request, method, transactionID: transactionID(), byteCountMax: TURNLimits.messageByteCountMax)
    attributes(&builder)
    if let login {
      builder.append(.username, login.credentials.username)
      builder.append(.realm, "kvs")
      builder.append(.nonce, login.nonce)
      builder.appendIntegrity(
        with: STUNIntegrityKey(
          username: login.credentials.username, realm: "kvs", password: login.credentials.password))
    }
    return builder.bytes
  }

  /// Credentials of an identity and a nonce of the server's challenge.
  mutating func login(_ identity: String = "djE6YQ==", from client: TransportAddress) throws -> TURNLogin {
    let challenge = try #require(ask(request(.allocate, nil) { _ in }, from: client).first)
    let nonce = try STUNMessage(parsing: challenge.rawSpan).nonce
    return TURNLogin(
      credentials: TURNCredentials(
        identity: identity, expiry: TURNWorld.unixTime + 1_000_000, secret: TURNWorld.secret),
      nonce: try #require(nonce))
  }

  /// Asks by an authenticated request; gives the error, or `nil` for success.
  mutating func outcome(
    _ method: STUNMethod, _ login: TURNLogin, from client: TransportAddress,
    _ attributes: (inout STUNMessageBuilder) -> Void
  ) throws -> STUNErrorCode? {
    let answer = try #require(ask(request(method, login, attributes), from: client).first)
    return errorCode(of: answer)
  }

  mutating func allocate(_ login: TURNLogin, from client: TransportAddress) throws -> STUNErrorCode? {
    try outcome(.allocate, login, from: client) { $0.append(.requestedTransport, [17, 0, 0, 0]) }
  }

  mutating func permit(
    _ peers: [TransportAddress], _ login: TURNLogin, from client: TransportAddress
  ) throws -> STUNErrorCode? {
    try outcome(.createPermission, login, from: client) { builder in
      for peer in peers { builder.append(.xorPeerAddress, peer) }
    }
  }

  mutating func bind(
    _ number: UInt16, _ peer: TransportAddress, _ login: TURNLogin, from client: TransportAddress
  ) throws -> STUNErrorCode? {
    try outcome(.channelBind, login, from: client) { builder in
      builder.append(.channelNumber, UInt32(number) << 16)
      builder.append(.xorPeerAddress, peer)
    }
  }

  /// What the server gives a client for a peer's datagram.
  mutating func fromPeer(_ payload: [UInt8], _ peer: TransportAddress) -> [UInt8]? {
    guard case .openRelay(let relay, _)? = actions.first else { return nil }
    var isSent = false
    let bytes = [UInt8](writing: 2000) { output in
      isSent = server.relay(payload.rawSpan, from: peer, on: relay, into: &output, at: now) != nil
    }
    return isSent ? bytes : nil
  }
}

/// What a client of the bench proves itself with.
struct TURNLogin {
  var credentials: TURNCredentials
  var nonce: [UInt8]
}

@Suite("The TURN server's decisions, RFC 8656")
struct TURNServerTests {
  private let client: TransportAddress
  private let peer: TransportAddress

  init() throws {
    client = try address("198.51.100.1", 40_000)
    peer = try address("198.51.100.7", 5000)
  }

  @Test("A password is base64 of HMAC-SHA256 over the user name")
  func credentials() {
    let credentials = TURNCredentials(
      identity: "djE6YXJu", expiry: 1_706_703_630, secret: Secret(Array("key".utf8)))
    #expect(credentials.username == "1706703630:djE6YXJu")
    #expect(credentials.password.unredacted == "eksdHniUGGeMW1awYf6jxQgWHMf+V3tY3lc7lV0+6Uk=")
  }

  @Test("A repeated Allocate gets the same answer again; another one for the same way is refused")
  func repetition() throws {
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    let request = bench.request(.allocate, login) { $0.append(.requestedTransport, [17, 0, 0, 0]) }
    let first = bench.ask(request, from: client)
    let second = bench.ask(request, from: client)
    #expect(first.count == 1)
    #expect(first == second)
    #expect(bench.actions.count == 1)
    #expect(try bench.allocate(login, from: client) == .allocationMismatch)
  }

  @Test("What the server does not have is refused by the code that says so")
  func refusals() throws {
    var bench = try TURNServerBench { $0.families = [.ipv4] }
    let login = try bench.login(from: client)
    let cases: [(STUNErrorCode, [(STUNAttributeType, [UInt8])])] = [
      (.badRequest, []),
      (.unsupportedTransport, [(.requestedTransport, [6, 0, 0, 0])]),
      (.insufficientCapacity, [(.requestedTransport, [17, 0, 0, 0]), (.evenPort, [0x80])]),
      (
        .insufficientCapacity,
        [(.requestedTransport, [17, 0, 0, 0]), (.reservationToken, [1, 2, 3, 4, 5, 6, 7, 8])]
      ),
      (.unknownAttribute, [(.requestedTransport, [17, 0, 0, 0]), (.dontFragment, [])]),
      (
        .addressFamilyNotSupported,
        [(.requestedTransport, [17, 0, 0, 0]), (.requestedAddressFamily, [2, 0, 0, 0])]
      ),
      (
        .addressFamilyNotSupported,
        [(.requestedTransport, [17, 0, 0, 0]), (.requestedAddressFamily, [9, 0, 0, 0])]
      ),
    ]
    for (code, attributes) in cases {
      let outcome = try bench.outcome(.allocate, login, from: client) { builder in
        for (type, value) in attributes { builder.append(type, value) }
      }
      #expect(outcome == code)
    }
    for method in [STUNMethod.refresh, .createPermission, .channelBind] {
      #expect(try bench.outcome(method, login, from: client) { _ in } == .allocationMismatch)
    }
    let count = bench.server.allocationCount
    #expect(count == 0)
  }

  @Test("An allocation is its user's: others get 441, and a nonce is good for its source only")
  func ownership() throws {
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    var other = login
    other.credentials = TURNCredentials(
      identity: "other", expiry: TURNWorld.unixTime + 1000, secret: TURNWorld.secret)
    #expect(try bench.permit([peer], other, from: client) == .wrongCredentials)
    #expect(
      try bench.outcome(.refresh, other, from: client) { $0.append(.lifetime, 0 as UInt32) }
        == .wrongCredentials)
    let elsewhere = try address("198.51.100.1", 40_001)
    #expect(try bench.allocate(login, from: elsewhere) == .staleNonce)
    let count = bench.server.allocationCount
    #expect(count == 1)
  }

  @Test("Quotas hold for each identity, whatever its user names, and for all together")
  func quotas() throws {
    var bench = try TURNServerBench {
      $0.allocationsPerUserMax = 2
      $0.allocationsMax = 3
    }
    var outcomes: [STUNErrorCode?] = []
    for (port, identity) in zip(UInt16(1)..., ["a", "a", "a", "b", "b"]) {
      let from = TransportAddress(ip: client.ip, port: port)
      var login = try bench.login(identity, from: from)
      login.credentials = TURNCredentials(
        identity: identity, expiry: TURNWorld.unixTime + 1000 + Int64(port), secret: TURNWorld.secret)
      outcomes.append(try bench.allocate(login, from: from))
    }
    #expect(outcomes == [nil, nil, .allocationQuotaReached, nil, .insufficientCapacity])
    // What is given back can be had again.
    bench.server.disconnected(bench.route(from: TransportAddress(ip: client.ip, port: 1)))
    let from = TransportAddress(ip: client.ip, port: 9)
    let login = try bench.login("a", from: from)
    #expect(try bench.allocate(login, from: from) == nil)
  }

  @Test("Permissions last five minutes, channels ten, an allocation as long as it was granted")
  func expiry() throws {
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    #expect(bench.fromPeer([1], peer) == nil)
    #expect(try bench.bind(0x4000, peer, login, from: client) == nil)
    #expect(bench.fromPeer([1], peer) == [0x40, 0, 0, 1, 1])
    bench.now = Instant.zero + .seconds(299)
    #expect(bench.fromPeer([1], peer) != nil)
    bench.now = Instant.zero + .seconds(300)
    #expect(bench.fromPeer([1], peer) == nil)
    bench.ask([0x40, 0, 0, 1, 7], from: client)
    #expect(bench.forwards.map(\.payload) == [[7]])
    bench.now = Instant.zero + .seconds(599)
    bench.ask([0x40, 0, 0, 1, 8], from: client)
    #expect(bench.forwards.count == 2)
    #expect(try bench.outcome(.refresh, login, from: client) { _ in } == nil)
    bench.now = Instant.zero + .seconds(600)
    bench.ask([0x40, 0, 0, 1, 9], from: client)
    #expect(bench.forwards.count == 2)
    let early = bench.server.nextDeadline
    #expect(early == bench.now)
    bench.server.handleTimeout(at: bench.now)
    bench.now = Instant.zero + .seconds(1199)
    let deadline = bench.server.nextDeadline
    #expect(deadline == bench.now)
    bench.server.handleTimeout(at: bench.now)
    bench.drain()
    let (count, next) = (bench.server.allocationCount, bench.server.nextDeadline)
    #expect(count == 0)
    #expect(next == nil)
    #expect(bench.actions.last == .closeRelay(RelayID(rawValue: 1)))
  }

  @Test("A channel has one peer and a peer one channel; numbers out of range are refused")
  func channels() throws {
    var bench = try TURNServerBench { $0.channelsPerAllocationMax = 3 }
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    let second = try address("198.51.100.8", 5000)
    #expect(try bench.bind(0x4000, peer, login, from: client) == nil)
    #expect(try bench.bind(0x4000, peer, login, from: client) == nil)
    #expect(try bench.bind(0x4000, second, login, from: client) == .badRequest)
    #expect(try bench.bind(0x4001, peer, login, from: client) == .badRequest)
    #expect(try bench.bind(0x3fff, second, login, from: client) == .badRequest)
    #expect(try bench.bind(0x5000, second, login, from: client) == .badRequest)
    #expect(try bench.bind(0x4001, second, login, from: client) == nil)
    #expect(try bench.bind(0x4002, address("198.51.100.8", 5001), login, from: client) == nil)
    #expect(
      try bench.bind(0x4003, address("198.51.100.8", 5002), login, from: client) == .insufficientCapacity)
    #expect(
      try bench.permit([address("2001:db8:1::1", 1)], login, from: client) == .peerAddressFamilyMismatch)
    // A binding that is over leaves number and peer to others.
    bench.now = Instant.zero + .seconds(599)
    #expect(try bench.outcome(.refresh, login, from: client) { _ in } == nil)
    bench.now = Instant.zero + .seconds(601)
    let fresh = try bench.login(from: TransportAddress(ip: client.ip, port: client.port))
    #expect(try bench.bind(0x4000, second, fresh, from: client) == nil)
  }

  @Test("A relay that cannot be opened is answered 508 and leaves nothing")
  func noSocket() throws {
    var world = try TURNWorld(seed: 1)
    world.canOpenRelays = false
    world.client.start(at: .zero)
    world.run(for: .seconds(5))
    #expect(world.events == [.failed(.insufficientCapacity)])
    #expect(world.allocationCount == 0)
  }

  @Test("Every prefix of a client's frames and single flipped bits never trap nor open a second relay")
  func damage() throws {
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    let frames = [
      bench.request(.allocate, login) { $0.append(.requestedTransport, [17, 0, 0, 0]) },
      bench.request(.createPermission, login) { $0.append(.xorPeerAddress, peer) },
      bench.request(.channelBind, login) { builder in
        builder.append(.channelNumber, 0x4000_0000 as UInt32)
        builder.append(.xorPeerAddress, peer)
      },
      bench.request(.refresh, login) { $0.append(.lifetime, 700 as UInt32) },
      [0x40, 0, 0, 3, 1, 2, 3],
    ]
    for frame in frames {
      bench.ask(frame, from: client)
      for byteCount in 0..<frame.count { bench.ask(Array(frame.prefix(byteCount)), from: client) }
      for bit in 0..<(8 * frame.count) {
        var bytes = frame
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        bench.ask(bytes, from: client)
      }
    }
    let count = bench.server.allocationCount
    #expect(count == 1)
    #expect(bench.actions.count == 1)
    #expect(bench.fromPeer([1], peer) == [0x40, 0, 0, 1, 1])
  }
}
