// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("A TURN client against the TURN server in virtual time, RFC 8656")
struct TURNClientTests {
  @Test(
    "A relay is allocated in two round trips, and data goes both ways by indications, then by the channel")
  func relaysBothWays() throws {
    var world = try TURNWorld(seed: 1)
    let peer = try address("198.51.100.7", 5000)
    world.client.start(at: .zero)
    world.client.permit(peer.ip, at: .zero)
    world.run(for: .seconds(1)) { $0.events.contains(.permitted(peer.ip)) }
    let (elapsed, relayed) = (world.now - Instant.zero, world.client.relayedAddress)
    #expect(elapsed == .milliseconds(120))
    #expect(relayed == (try address("203.0.113.1", 49_152)))
    let allocated = TURNClient.Event.allocated(
      relayed: try address("203.0.113.1", 49_152), mapped: world.route.socket.address)
    #expect(world.events == [allocated, .permitted(peer.ip)])

    let indication = world.send([1, 2, 3], to: peer)
    #expect(indication?.count == 20 + 12 + 8)
    let dataIndication = world.sendFromPeer([4, 5, 6, 7, 8], peer)
    #expect(dataIndication?.count == 20 + 12 + 12)
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.map(\.payload) == [[1, 2, 3]])
    #expect(world.peersReceived.map(\.peer) == [peer])
    #expect(world.clientReceived.map(\.payload) == [[4, 5, 6, 7, 8]])

    world.client.bindChannel(to: peer, at: world.now)
    world.run(for: .seconds(1)) { $0.events.contains(.channelBound(peer)) }
    #expect(world.send([9, 9, 9], to: peer) == [0x40, 0, 0, 3, 9, 9, 9])
    #expect(world.sendFromPeer([8, 8], peer) == [0x40, 0, 0, 2, 8, 8])
    let header = world.client.channelHeader(to: peer, payloadByteCount: 3)
    #expect(header == 0x4000_0003)
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.map(\.payload).last == [9, 9, 9])
    #expect(world.clientReceived.map(\.payload).last == [8, 8])
    #expect(world.clientReceived.map(\.peer) == [peer, peer])
  }

  @Test("Over a stream nothing is repeated and ChannelData is padded with zeros")
  func stream() throws {
    var world = try TURNWorld(seed: 2, isStream: true)
    world.delay = .seconds(3)
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [peer])
    #expect(world.sentMethods() == [.allocate, .allocate, .createPermission, .channelBind])
    #expect(world.send([1, 2, 3, 4, 5], to: peer) == [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0])
    #expect(world.sendFromPeer([1], peer) == [0x40, 0, 0, 1, 1, 0, 0, 0])
    world.run(for: .seconds(7))
    #expect(world.peersReceived.map(\.payload) == [[1, 2, 3, 4, 5]])
    #expect(world.clientReceived.map(\.payload) == [[1]])
  }

  @Test("An IPv6 relay is allocated over an IPv4 route; peers of the other family are not taken")
  func ipv6Relay() throws {
    var world = try TURNWorld(seed: 3, family: .ipv6)
    let peer = try address("2001:db8:1::7", 5000)
    world.connect(to: [peer])
    let relayed = world.client.relayedAddress
    #expect(relayed == (try address("2001:db8::1", 49_152)))
    let isTaken = world.client.permit(try address("198.51.100.7", 1).ip, at: world.now)
    #expect(!isTaken)
    world.send([1], to: peer)
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.map(\.peer) == [peer])
  }

  @Test(
    "With a quarter of all frames lost a call of half an hour stays up",
    arguments: Array(1...12).map(UInt64.init))
  func loss(seed: UInt64) throws {
    var world = try TURNWorld(seed: seed) { $0.nonceLifetime = .seconds(100) }
    world.lossPercent = 25
    let peers = [try address("198.51.100.7", 5000), try address("198.51.100.8", 5000)]
    world.connect(to: peers)
    world.run(for: .seconds(1800))
    let relayed = world.client.relayedAddress
    #expect(relayed != nil, "seed \(seed): \(world.events)")
    world.lossPercent = 0
    for peer in peers {
      let frame = world.send([7], to: peer)
      #expect(frame?.count == 5, "seed \(seed): \(world.events)")
      world.sendFromPeer([8], peer)
    }
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.count == 2, "seed \(seed)")
    #expect(world.clientReceived.map(\.peer) == peers, "seed \(seed)")
  }

  @Test("A nonce that goes stale in mid-call costs one more round trip for requests of every kind")
  func staleNonce() throws {
    var world = try TURNWorld(seed: 4) { $0.nonceLifetime = .seconds(30) }
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [peer])
    world.run(for: .seconds(31))
    let before = world.serverSent.count
    let other = try address("198.51.100.9", 5000)
    world.client.bindChannel(to: other, at: world.now)
    world.run(for: .seconds(700))
    let stale = world.serverSent[before...].filter { errorCode(of: $0) == .staleNonce }
    #expect(stale.count >= 6)
    let isAllocated = world.client.relayedAddress != nil
    #expect(isAllocated)
    #expect(world.events.suffix(2) == [.permitted(other.ip), .channelBound(other)])

    world.client.release(at: world.now)
    world.run(for: .seconds(5))
    #expect(world.events.last == .closed)
    #expect(world.allocationCount == 0)
  }

  @Test("A server whose nonces are always stale is given up after a few tries")
  func alwaysStale() throws {
    var world = try TURNWorld(seed: 5) { $0.nonceLifetime = .zero }
    world.client.start(at: .zero)
    world.run(for: .seconds(60))
    #expect(world.events == [.failed(.staleNonce)])
    #expect(world.clientSent.count == 4)
  }

  @Test("A server's reasons for giving no relay arrive as what they are")
  func typedFailures() throws {
    let cases: [(TURNFailure, IPAddress.Family, (inout TURNServerCore.Configuration) -> Void)] = [
      (.quotaReached, .ipv4, { $0.allocationsPerUserMax = 0 }),
      (.addressFamilyNotSupported, .ipv6, { $0.families = [.ipv4] }),
      (.unauthenticated, .ipv4, { $0.secret = Secret([1]) }),
    ]
    for (failure, family, configure) in cases {
      var world = try TURNWorld(seed: 16, family: family, configure: configure)
      world.client.start(at: .zero)
      world.run(for: .seconds(60))
      #expect(world.events == [.failed(failure)])
    }
    for (code, failure) in [
      (403, .forbidden), (437, .allocationMismatch), (441, .wrongCredentials),
      (442, .unsupportedTransport), (508, .insufficientCapacity), (500, .rejected(.serverError)),
    ]
      as [(UInt16, TURNFailure)]
    {
      var world = try TURNWorld(seed: 17)
      world.client.start(at: .zero)
      world.run(for: .milliseconds(10))
      let request = try #require(world.clientSent.first?.bytes)
      let id = try STUNMessage(parsing: request.rawSpan).transactionID
      var answer = STUNMessageBuilder(.errorResponse, .allocate, transactionID: id)
      answer.append(STUNErrorCode(rawValue: code))
      world.deliverToClient(answer.bytes)
      #expect(world.state == .failed(failure))
    }
  }

  @Test(
    "A challenge of the longest realm and nonce is answered; a longer one ends in a failure, not in a trap")
  func longChallenges() throws {
    for (byteCount, isAnswered) in [(256, true), (257, false), (0, true)] {
      var world = try TURNWorld(seed: 18)
      world.client = TURNClient(
        configuration: .init(
          route: world.route, username: String(repeating: "u", count: TURNLimits.usernameByteCountMax),
          password: Secret("password")),
        random: RandomSource(seed: 18))
      world.client.start(at: .zero)
      world.run(for: .milliseconds(10))
      let request = try #require(world.clientSent.first?.bytes)
      var challenge = STUNMessageBuilder(
        .errorResponse, .allocate, transactionID: try STUNMessage(parsing: request.rawSpan).transactionID)
      challenge.append(STUNErrorCode.unauthenticated)
      challenge.append(.realm, [UInt8](repeating: 0x72, count: min(byteCount, 200)))
      challenge.append(.nonce, [UInt8](repeating: 0x6e, count: byteCount))
      world.deliverToClient(challenge.bytes)
      #expect(world.state == (isAnswered ? .allocating : .failed(.malformedResponse)))
      world.run(for: .milliseconds(10))
      #expect(world.clientSent.count == (isAnswered ? 2 : 1))
    }
  }

  @Test("Permissions, channels and the allocation are refreshed ahead of their end")
  func refreshes() throws {
    var world = try TURNWorld(seed: 6)
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [peer])
    world.clientSent = []
    world.run(for: .seconds(1100))
    let methods = world.sentMethods()
    #expect(methods.filter { $0 == .refresh }.count >= 2)
    #expect(methods.filter { $0 == .createPermission }.count >= 4)
    #expect(methods.filter { $0 == .channelBind }.count >= 2)
    world.sendFromPeer([1], peer)
    world.run(for: .milliseconds(100))
    #expect(world.clientReceived.count == 1)
  }

  @Test("A wrong password is told as such, after one try")
  func wrongPassword() throws {
    var world = try TURNWorld(seed: 7, password: "wrong")
    world.client.start(at: .zero)
    world.run(for: .seconds(60))
    #expect(world.events == [.failed(.unauthenticated)])
    #expect(world.clientSent.count == 2)
    #expect(world.allocationCount == 0)
    let deadline = world.client.nextDeadline
    #expect(deadline == nil)
  }

  @Test("A user name whose time is over allocates nothing, but what runs goes on")
  func expiredUsername() throws {
    var late = try TURNWorld(seed: 8, credentialSeconds: 0)
    late.client.start(at: .zero)
    late.run(for: .seconds(60))
    #expect(late.events == [.failed(.unauthenticated)])

    var world = try TURNWorld(seed: 8, credentialSeconds: 30)
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [peer])
    world.run(for: .seconds(900))
    let isAllocated = world.client.relayedAddress != nil
    #expect(isAllocated)
  }

  @Test("Without an answer a client gives up after 39.5 s and seven requests, over a stream after one")
  func silence() throws {
    for isStream in [false, true] {
      var world = try TURNWorld(seed: 9, isStream: isStream)
      world.delay = .seconds(1000)
      world.client.start(at: .zero)
      world.run(for: .seconds(100)) { !$0.events.isEmpty }
      #expect(world.events == [.failed(.timedOut)])
      let elapsed = world.now - Instant.zero
      #expect(elapsed == .milliseconds(39_500))
      #expect(world.clientSent.count == (isStream ? 1 : 7))
    }
  }

  @Test("A server that vanishes in mid-call is noticed at the latest when the allocation's time is over")
  func vanishedServer() throws {
    var world = try TURNWorld(seed: 10)
    world.connect(to: [try address("198.51.100.7", 5000)])
    world.lossPercent = 100
    world.run(for: .seconds(601))
    #expect(world.events.last == .failed(.timedOut))
    let isSent = world.send([1], to: try address("198.51.100.7", 5000)) != nil
    #expect(!isSent)
  }

  @Test("A server that restarted answers 437, and the allocation counts as lost")
  func restartedServer() throws {
    var world = try TURNWorld(seed: 11)
    world.connect(to: [try address("198.51.100.7", 5000)])
    world.server = TURNServerCore(configuration: TURNWorld.configuration(), random: RandomSource(seed: 99))
    world.run(for: .seconds(300))
    #expect(world.events.last == .failed(.allocationMismatch))
  }

  @Test("Released while its allocation is still being made, a client leaves nothing behind")
  func earlyRelease() throws {
    var world = try TURNWorld(seed: 12)
    world.client.start(at: .zero)
    world.run(for: .milliseconds(30))
    world.client.release(at: world.now)
    world.run(for: .seconds(5))
    #expect(world.events == [.closed])
    #expect(world.allocationCount == 0)
    #expect(world.openRelays.isEmpty)
  }

  @Test("A peer that the server refuses is told, and costs no other peer anything")
  func refusedPeer() throws {
    var world = try TURNWorld(seed: 13)
    let (good, bad) = (try address("198.51.100.7", 5000), try address("192.168.1.1", 5000))
    world.client.start(at: .zero)
    for peer in [bad, good] { world.client.bindChannel(to: peer, at: .zero) }
    world.run(for: .seconds(5))
    #expect(world.events.contains(.permissionRefused(bad.ip, .forbidden)))
    #expect(world.events.contains(.channelBound(good)))
    let canSend = world.client.canSend(to: bad)
    #expect(!canSend)
  }

  @Test("Forged and damaged frames change nothing and never trap", arguments: [UInt64(1), 2, 3])
  func forgedFrames(seed: UInt64) throws {
    var world = try TURNWorld(seed: seed)
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [peer])
    world.sendFromPeer([1, 2, 3], peer)
    world.run(for: .seconds(1))
    let genuine = world.serverSent + [[0x40, 0, 0, 3, 1, 2, 3]]
    var random = RandomSource(seed: seed)
    for frame in genuine {
      for byteCount in 0..<frame.count { world.deliverToClient(Array(frame.prefix(byteCount))) }
      for _ in 0..<500 {
        var bytes = frame
        let bit = Int.random(in: 0..<(bytes.count * 8), using: &random)
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        world.deliverToClient(bytes)
      }
    }
    // Data of a peer without permission, and a success that nobody asked for.
    var forged = STUNMessageBuilder(.indication, .data, transactionID: .init(prefix: 1, suffix: 2))
    forged.append(.xorPeerAddress, try address("198.51.100.99", 1))
    forged.append(.data, [1, 2, 3])
    let received = world.clientReceived.count
    world.deliverToClient(forged.bytes)
    #expect(world.clientReceived.count == received)
    #expect(world.state == .allocated(relayed: try address("203.0.113.1", 49_152)))
    world.run(for: .seconds(700))
    let isAllocated = world.client.relayedAddress != nil
    #expect(isAllocated, "seed \(seed)")
  }

  @Test("A success without the key of the session is not believed")
  func forgedSuccess() throws {
    var world = try TURNWorld(seed: 14)
    world.client.start(at: .zero)
    world.run(for: .seconds(1)) { $0.clientSent.count == 2 }
    let request = try #require(world.clientSent.last?.bytes)
    let id = try STUNMessage(parsing: request.rawSpan).transactionID
    for key in [nil, STUNIntegrityKey(password: Secret("guess"))] {
      var forged = STUNMessageBuilder(.successResponse, .allocate, transactionID: id)
      forged.append(.xorRelayedAddress, try address("198.51.100.66", 66))
      forged.append(.lifetime, 600 as UInt32)
      if let key { forged.appendIntegrity(with: key) }
      world.deliverToClient(forged.bytes)
    }
    #expect(world.state == .allocating)
    let drops = world.client.drops[.unauthenticatedResponse]
    #expect(drops == 2)
    world.run(for: .seconds(1))
    #expect(world.state == .allocated(relayed: try address("203.0.113.1", 49_152)))
  }

  @Test("A channel whose answers were all lost is bound under its number when it is asked for again")
  func channelAgain() throws {
    var world = try TURNWorld(seed: 19)
    let peer = try address("198.51.100.7", 5000)
    world.connect(to: [])
    world.client.permit(peer.ip, at: world.now)
    world.run(for: .seconds(1)) { $0.events.contains(.permitted(peer.ip)) }
    world.losesAnswers = true
    world.client.bindChannel(to: peer, at: world.now)
    world.run(for: .seconds(60))
    #expect(world.events.last == .channelRefused(peer, .timedOut))
    world.losesAnswers = false
    world.client.bindChannel(to: peer, at: world.now)
    world.client.bindChannel(to: try address("198.51.100.7", 5001), at: world.now)
    world.run(for: .seconds(1))
    #expect(world.events.contains(.channelBound(peer)))
    #expect(world.send([], to: peer) == [0x40, 0, 0, 0])
    #expect(world.send([], to: try address("198.51.100.7", 5001)) == [0x40, 1, 0, 0])
  }

  @Test("A user name that is longer than any message may carry is a mistake of the caller")
  func longUsername() async {
    await #expect(processExitsWith: .failure) {
      let route = Route(
        receivedOn: LocalSocket(id: 1, address: try address("203.0.113.10", 1)),
        from: try address("203.0.113.1", 3478))
      _ = TURNClient(
        configuration: .init(
          route: route, username: String(repeating: "u", count: 509), password: Secret("password")),
        random: RandomSource(seed: 1))
    }
  }

  @Test("A client's tables are bounded, and a full one takes no more peers")
  func boundedTables() throws {
    var world = try TURNWorld(seed: 15)
    world.client.start(at: .zero)
    var taken = 0
    for index in 0..<1000 {
      let peer = TransportAddress(ip: IPAddress(ipv4: 0xc633_6400 + UInt32(index)), port: 5)
      if world.client.bindChannel(to: peer, at: .zero) { taken += 1 }
    }
    #expect(taken == 100)
    world.run(for: .seconds(700))
    let bound = world.events.filter { if case .channelBound = $0 { true } else { false } }
    #expect(bound.count == 100)
  }
}
