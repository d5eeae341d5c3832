// SPDX-License-Identifier: Apache-2.0

import ICE
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SansIO
import Testing

@testable import LocalKinesisVideo

/// A TURN server on free ports of 127.0.0.1.
struct TURNServerHarness: Sendable {
  let server: TURNServer
  let secret: Secret<[UInt8]>
  let certificatePEM: String

  static func run(
    limits: TURNServerState.Limits = .init(),
    _ configure: (inout TURNServer.Configuration) -> Void = { _ in },
    _ body: (TURNServerHarness) async throws -> Void
  ) async throws {
    let authority = try LocalCertificateAuthority()
    var configuration = TURNServer.Configuration()
    configuration.port = 0
    configuration.tlsPort = 0
    configuration.tlsContext = try authority.makeServerIdentity().makeContext()
    configure(&configuration)
    let server = try await TURNServer.open(
      configuration, limits: limits, on: MultiThreadedEventLoopGroup.singleton.next(),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    do {
      try await body(
        TURNServerHarness(
          server: server, secret: configuration.secret, certificatePEM: authority.certificatePEM))
    } catch {
      await server.shutdown()
      throw error
    }
    await server.shutdown()
  }

  var port: Int { server.address.port }

  func credentials(_ identity: String = "djE6YQ==", seconds: Int64 = 300) -> TURNCredentials {
    TURNCredentials(
      identity: identity, expiry: ServiceTime.systemNow.unixMilliseconds / 1000 + seconds, secret: secret)
  }

  func client(
    _ transport: TURNTransport = .udp, _ credentials: TURNCredentials? = nil
  ) async throws -> TURNTestClient {
    let socket =
      switch transport {
      case .udp: try await TestSocket.datagrams()
      case .tcp: try await TestSocket.stream(toPort: port)
      case .tls:
        try await TestSocket.stream(
          toPort: try #require(server.address.tlsPort), trusting: certificatePEM, serverName: "localhost")
      }
    return try TURNTestClient(socket, port: port, credentials: credentials ?? self.credentials())
  }

  enum TURNTransport: CaseIterable { case udp, tcp, tls }
}

@Suite("The stand-in's TURN server relays over real sockets", .timeLimit(.minutes(2)))
struct TURNServerTests {
  @Test("a client relays through its server both ways", arguments: TURNServerHarness.TURNTransport.allCases)
  func relays(transport: TURNServerHarness.TURNTransport) async throws {
    try await TURNServerHarness.run { harness in
      var peer = try await TestSocket.datagrams()
      let peerAddress = try peer.address
      await harness.server.allow([peerAddress])
      var client = try await harness.client(transport)
      let allocation = try await client.allocate()
      let relayed = try #require(allocation.relayed)
      #expect(allocation.mapped == (try client.socket.address))
      #expect(relayed.ip == peerAddress.ip)
      #expect(try await client.permit(peerAddress) == nil)

      try await client.sendIndication([1, 2, 3, 4], to: peerAddress)
      let arrived = try #require(await peer.receive())
      #expect(arrived.bytes == [1, 2, 3, 4])
      #expect(arrived.from == relayed)
      try await peer.send([5, 6, 7], to: relayed)
      let indication = try #require(await client.socket.receive()).bytes
      #expect(try data(of: indication) == [5, 6, 7])

      #expect(try await client.bind(0x4001, to: peerAddress) == nil)
      try await client.send([8, 9, 10, 11], onChannel: 0x4001)
      #expect(try #require(await peer.receive()).bytes == [8, 9, 10, 11])
      try await peer.send([12], to: relayed)
      let framed = try #require(await client.socket.receive()).bytes
      #expect(framed.prefix(5) == [0x40, 1, 0, 1, 12])

      let release = try await client.authenticated(.refresh) { $0.append(.lifetime, UInt32(0)) }
      #expect(release.error == nil)
      #expect(try await harness.server.allocationCount() == 0)
      await client.socket.close()
      await peer.close()
    }
  }

  private func data(of bytes: [UInt8]) throws -> [UInt8]? {
    let message = try STUNMessage(parsing: bytes.rawSpan)
    guard let span = message.value(of: .data) else { return nil }
    return [UInt8](copying: span)
  }

  @Test("a stream that ends takes its allocation along")
  func streamEnds() async throws {
    try await TURNServerHarness.run { harness in
      var client = try await harness.client(.tcp)
      #expect(try await client.allocate().error == nil)
      #expect(try await harness.server.allocationCount() == 1)
      await client.socket.close()
      try await eventually { try await harness.server.allocationCount() == 0 }
    }
  }

  /// Waits for what other threads do soon, asking again at each turn of an event loop.
  private func eventually(_ isTrue: () async throws -> Bool) async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    for _ in 0..<2000 {
      if try await isTrue() { return }
      try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
    }
    Issue.record("what was waited for did not happen")
  }

  @Test("bytes that are no frames end their connection and no other")
  func garbage() async throws {
    try await TURNServerHarness.run { harness in
      var good = try await harness.client(.tcp)
      var bad = try await harness.client(.tcp)
      #expect(try await good.allocate().error == nil)
      // How TLS begins; "GET" would be a channel number.
      try await bad.send([0x16, 0x03, 0x01, 0x00, 0x10])
      #expect(await bad.socket.receive() == nil)
      let refresh = try await good.authenticated(.refresh) { $0.append(.lifetime, UInt32(600)) }
      #expect(refresh.error == nil)
      await good.socket.close()
    }
  }

  @Test("connections beyond the limit are closed, and idle ones without an allocation too")
  func connectionLimits() async throws {
    var limits = TURNServerState.Limits()
    limits.connectionsMax = 2
    limits.idleTimeout = .zero
    limits.sweepInterval = .seconds(3600)
    try await TURNServerHarness.run(limits: limits) { harness in
      var kept = try await harness.client(.tcp)
      #expect(try await kept.allocate().error == nil)
      var idle = try await harness.client(.tcp)
      let challenge = try await idle.ask(idle.request(.allocate, isSigned: false))
      #expect(challenge.error == .unauthenticated)
      var surplus = try await harness.client(.tcp)
      #expect(await surplus.socket.receive() == nil)
      try await harness.server.sweep()
      #expect(await idle.socket.receive() == nil)
      let refresh = try await kept.authenticated(.refresh) { $0.append(.lifetime, UInt32(600)) }
      #expect(refresh.error == nil)
      await kept.socket.close()
    }
  }

  @Test("T45 a peer that cannot be sent to costs the others nothing")
  func unsendablePeers() async throws {
    try await TURNServerHarness.run({ $0.allowedPrefixes = ["0.0.0.0/0"].compactMap { IPPrefix($0) } }) {
      harness in
      var peer = try await TestSocket.datagrams()
      let peerAddress = try peer.address
      var client = try await harness.client()
      let relayed = try #require(try await client.allocate().relayed)
      // A socket that is bound to loopback sends nowhere else; the longest datagrams fit into nothing.
      let elsewhere = TransportAddress(ip: try #require(IPAddress("198.51.100.7")), port: 9)
      for target in [elsewhere, peerAddress] { #expect(try await client.permit(target) == nil) }
      for _ in 0..<20 { try await client.sendIndication([1], to: elsewhere) }
      try await client.sendIndication([2], to: peerAddress)
      let arrived = try #require(await peer.receive())
      #expect(arrived.bytes == [2])
      #expect(arrived.from == relayed)
      await client.socket.close()
      await peer.close()
    }
  }

  @Test("a channel has its quota of allocations, and the server one of all")
  func quotas() async throws {
    try await TURNServerHarness.run({
      $0.allocationsPerChannelMax = 2
      $0.allocationsMax = 3
    }) { harness in
      var outcomes: [STUNErrorCode?] = []
      // Streams: what a source that is not known yet gets over UDP is limited.
      var clients: [TURNCredentials] = (0..<3).map { _ in harness.credentials("a") }
      clients += (0..<2).map { _ in harness.credentials("b") }
      try await allocate(clients[...], harness) { outcomes.append($0) }
      #expect(outcomes == [nil, nil, .allocationQuotaReached, nil, .insufficientCapacity])
    }
  }

  /// Allocates with one connection each, all of which stay open until the last has its answer.
  private func allocate(
    _ credentials: ArraySlice<TURNCredentials>, _ harness: TURNServerHarness, note: (STUNErrorCode?) -> Void
  ) async throws {
    guard let first = credentials.first else { return }
    var client = try await harness.client(.tcp, first)
    note(try await client.allocate().error)
    try await allocate(credentials.dropFirst(), harness, note: note)
    await client.socket.close()
  }

  @Test("UDP and TCP have one number, also where a number has to be found")
  func onePort() async throws {
    try await TURNServerHarness.run { first in
      try await TURNServerHarness.run({
        $0.port = first.port
        $0.mayUseOtherPorts = true
      }) { second in
        #expect(second.port != first.port)
        for transport in [TURNServerHarness.TURNTransport.udp, .tcp] {
          var client = try await second.client(transport)
          let binding = try await client.ask(client.request(.binding, isSigned: false))
          #expect(binding.mapped == (try client.socket.address))
          await client.socket.close()
        }
      }
      await #expect(
        throws: LocalServerError.relayPortInUse(host: "127.0.0.1", port: first.port, flag: "--turn-port")
      ) {
        try await TURNServerHarness.run({ $0.port = first.port }) { _ in }
      }
    }
  }

  @Test("a relay behind a cloud's NAT has the advertised address, and its own relays reach each other")
  func advertisedAddress() async throws {
    let outside = try #require(IPAddress("203.0.113.9"))
    try await TURNServerHarness.run({ $0.advertisedAddresses = [outside] }) { harness in
      #expect(harness.server.address.hosts == ["203.0.113.9"])
      var left = try await harness.client(.tcp)
      var right = try await harness.client(.tcp)
      let (leftRelay, rightRelay) = (
        try #require(try await left.allocate().relayed), try #require(try await right.allocate().relayed)
      )
      #expect(leftRelay.ip == outside)
      #expect(try await left.permit(rightRelay) == nil)
      #expect(try await right.permit(leftRelay) == nil)
      try await left.sendIndication([1, 2], to: rightRelay)
      let arrived = try #require(await right.socket.receive()).bytes
      #expect(try data(of: arrived) == [1, 2])
      let peer = try STUNMessage(parsing: arrived.rawSpan).xorPeerAddress
      #expect(peer == leftRelay)
      await left.socket.close()
      await right.socket.close()
    }
  }
}

@Suite("The classic abuses of TURN meet real sockets", .timeLimit(.minutes(2)))
struct TURNAbuseTests {
  @Test(
    "T1 a source without credentials gets few error answers, and Binding no more than 1.6 times of what it sent"
  )
  func reflection() async throws {
    try await TURNServerHarness.run { harness in
      var client = try await harness.client()
      let allocate = client.request(.allocate, isSigned: false) {
        $0.append(.requestedTransport, [17, 0, 0, 0])
      }
      let start = ContinuousClock.now
      for _ in 0..<200 { try await client.send(allocate) }
      let binding = client.request(.binding, isSigned: false)
      try await client.send(binding)
      // Answers keep their order on loopback: what came before the last one are the errors.
      var errorCount = 0
      while let answer = await client.socket.receive() {
        let code = try STUNMessage(parsing: answer.bytes.rawSpan).errorCode
        guard code == nil else {
          errorCount += 1
          continue
        }
        #expect(10 * answer.bytes.count <= 16 * binding.count)
        break
      }
      // Ten in each second of the server's, of which the requests touch one more than pass between first and last.
      let seconds = (ContinuousClock.now - start).components.seconds
      #expect(errorCount >= 1 && errorCount <= 10 * (Int(seconds) + 2), "\(errorCount) in \(seconds) s")
      await client.socket.close()
    }
  }

  @Test("T2 requests without integrity leave nothing behind")
  func stateless() async throws {
    try await TURNServerHarness.run { harness in
      var client = try await harness.client(.tcp)
      for _ in 0..<500 {
        let request = client.request(.allocate, isSigned: false) {
          $0.append(.requestedTransport, [17, 0, 0, 0])
        }
        #expect(try await client.ask(request).error == .unauthenticated)
      }
      #expect(try await harness.server.allocationCount() == 0)
      await client.socket.close()
    }
  }

  @Test(
    "T3 nothing of the host and its network is relayed to",
    arguments: [
      "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
      "100.64.0.1", "224.0.0.251", "255.255.255.255",
    ])
  func internalPeers(text: String) async throws {
    try await TURNServerHarness.run { harness in
      let peer = TransportAddress(ip: try #require(IPAddress(text)), port: 53)
      var client = try await harness.client(.tcp)
      #expect(try await client.allocate().error == nil)
      #expect(try await client.bind(0x4000, to: peer) == .forbidden)
      // The relays are on this address: it gets a permission, which no other of its ports profits from.
      if text != "127.0.0.1" { #expect(try await client.permit(peer) == .forbidden) }
      await client.socket.close()
    }
  }

  @Test("T3 the addresses of the server's own host are refused also where they are public")
  func ownHost() throws {
    let own = try #require(IPAddress("203.0.113.9"))
    var configuration = TURNServer.Configuration()
    configuration.host = "0.0.0.0"
    configuration.advertisedAddresses = [IPAddress("198.51.100.9")].compactMap(\.self)
    let network = try TURNNetwork(configuration, hostAddresses: [IPAddress(ipv4: 0x7f00_0001), own])
    let refused = network.coreConfiguration(configuration, at: .systemNow).peerPolicy.hostAddresses
    #expect(refused == Set([IPAddress("127.0.0.1"), own, IPAddress("198.51.100.9")].compactMap(\.self)))
    #expect(network.relayAddresses[.ipv4]?.bound == own)
    #expect(network.relayAddresses[.ipv6] == nil)
  }

  @Test("only sockets that were named are relayed to on this host, and only as long as they are named")
  func namedPeers() async throws {
    try await TURNServerHarness.run { harness in
      let named = try await TestSocket.datagrams()
      let other = try await TestSocket.datagrams()
      let (namedAddress, otherAddress) = (try named.address, try other.address)
      await harness.server.allow([namedAddress])
      var client = try await harness.client()
      let relayed = try #require(try await client.allocate().relayed)
      // A permission is for all ports of an address (RFC 8656 §9), policy is not.
      #expect(try await client.permit(namedAddress) == nil)
      #expect(try await client.bind(0x4000, to: otherAddress) == .forbidden)
      try await other.send([1], to: relayed)
      try await named.send([2, 3], to: relayed)
      let first = try #require(await client.socket.receive()).bytes
      #expect(try STUNMessage(parsing: first.rawSpan).xorPeerAddress == namedAddress)
      await harness.server.allow([])
      #expect(try await client.bind(0x4000, to: namedAddress) == .forbidden)
      await client.socket.close()
      await named.close()
      await other.close()
    }
  }
}
