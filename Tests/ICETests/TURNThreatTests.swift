// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("What a TURN server must not be used for")
struct TURNThreatTests {
  private let client: TransportAddress

  init() throws { client = try address("198.51.100.1", 40_000) }

  private func binding(_ id: UInt64, hasFingerprint: Bool = false) -> [UInt8] {
    var builder = STUNMessageBuilder(.request, transactionID: .init(prefix: 1, suffix: id))
    if hasFingerprint { builder.appendFingerprint() }
    return builder.bytes
  }

  @Test("T1: a Binding answer has at most 1.6 times the bytes of its request, or counts as an error")
  func bindingAmplification() throws {
    var bench = try TURNServerBench()
    for hasFingerprint in [false, true] {
      let request = binding(7, hasFingerprint: hasFingerprint)
      let answers = bench.ask(request, from: client)
      let answer = try #require(answers.first)
      #expect(answers.count == 1)
      #expect(10 * answer.count <= 16 * request.count)
      let mapped = try STUNMessage(parsing: answer.rawSpan).xorMappedAddress
      #expect(mapped == client)
    }
    let socket = LocalSocket(id: 2, address: try address("2001:db8::1", 3478))
    let route = Route(receivedOn: socket, from: try address("2001:db8:1::1", 5))
    for id in 0..<100 {
      let bytes = binding(UInt64(id))
      _ = bench.server.receive(bytes.rawSpan, on: route, at: .zero)
    }
    let before = bench.sent.count
    bench.drain()
    #expect(bench.sent.count - before == 10)
  }

  @Test("T1: one source address gets ten error answers a second, whatever its ports")
  func errorAnswers() throws {
    var bench = try TURNServerBench()
    var counts: [Int] = []
    for second in 0..<3 {
      bench.now = Instant.zero + .seconds(Int64(second))
      let before = bench.sent.count
      for port in 1...1000 {
        let request = bench.request([STUNMethod.allocate, .refresh, STUNMethod(rawValue: 99)][port % 3], nil)
        { _ in }
        bench.ask(request, from: TransportAddress(ip: client.ip, port: UInt16(port)))
      }
      counts.append(bench.sent.count - before)
    }
    #expect(counts == [10, 10, 10])
    let silenced = bench.server.drops[.answerRateLimited]
    #expect(silenced == 2970)
    // Who proved itself is not held up by others behind its address.
    bench.now = Instant.zero + .seconds(3)
    let login = try bench.login(from: client)
    for port in 1...20 {
      bench.ask(
        bench.request(.allocate, nil) { _ in }, from: TransportAddress(ip: client.ip, port: UInt16(port)))
    }
    #expect(try bench.allocate(login, from: client) == nil)
  }

  @Test("T2: 100,000 Allocates without integrity, from as many sources, leave nothing behind")
  func noStateForUnauthenticated() throws {
    var bench = try TURNServerBench()
    let counters = bench.server.answerCounterCount
    var request = bench.request(.allocate, nil) { $0.append(.requestedTransport, [17, 0, 0, 0]) }
    for index in 0..<100_000 {
      let source = TransportAddress(ip: IPAddress(ipv4: 0x0b00_0000 + UInt32(index * 37)), port: 1000)
      request[19] = UInt8(truncatingIfNeeded: index)
      _ = bench.server.receive(request.rawSpan, on: bench.route(from: source), at: bench.now)
      if index % 100 == 0 {
        bench.drain()
        bench.sent = []
      }
    }
    let (allocations, after) = (bench.server.allocationCount, bench.server.answerCounterCount)
    let deadline = bench.server.nextDeadline
    #expect(allocations == 0)
    #expect(after == counters)
    #expect(deadline == nil)
    #expect(bench.actions.isEmpty)
  }

  /// Forty ways to write addresses that mean something only near the server.
  static let forbidden = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.255.255", "169.254.169.254", "169.254.0.1", "100.64.0.1",
    "100.127.255.254", "192.0.0.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "fe80::1", "febf::1", "fc00::1",
    "fd00:ec2::254", "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
  ]

  @Test(
    "T3: no permission and no channel reaches an address of the server's neighbourhood", arguments: forbidden)
  func internalPeers(text: String) throws {
    #expect(Self.forbidden.count == 40)
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    let peer = try address(text, 80)
    let family: UInt8 = peer.ip.family == .ipv4 ? 1 : 2
    let outcome = try bench.outcome(.allocate, login, from: client) { builder in
      builder.append(.requestedTransport, [17, 0, 0, 0])
      builder.append(.requestedAddressFamily, [family, 0, 0, 0])
    }
    #expect(outcome == nil)
    #expect(try bench.permit([peer], login, from: client) == .forbidden)
    #expect(try bench.bind(0x4000, peer, login, from: client) == .forbidden)
    let good = try address(family == 1 ? "198.51.100.7" : "2001:db8::7", 80)
    #expect(try bench.permit([good, peer], login, from: client) == .forbidden)
    var send = STUNMessageBuilder(.indication, .send, transactionID: bench.transactionID())
    send.append(.xorPeerAddress, peer)
    send.append(.data, [1])
    bench.ask(send.bytes, from: client)
    #expect(bench.forwards.isEmpty)
  }

  @Test(
    "T3: only what was named is reached after all: sockets by their port, ranges, the server's own relays")
  func namedPeers() throws {
    let named = try address("127.0.0.1", 5000)
    let range = try #require(IPPrefix("10.1.0.0/16"))
    var bench = try TURNServerBench {
      $0.peerPolicy = TURNPeerPolicy(
        allowedPrefixes: [range], allowedPeers: [named],
        deniedPrefixes: [IPPrefix("10.1.1.0/24")].compactMap(\.self))
    }
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    #expect(try bench.bind(0x4000, named, login, from: client) == nil)
    #expect(try bench.bind(0x4001, address("127.0.0.1", 22), login, from: client) == .forbidden)
    #expect(try bench.bind(0x4001, address("127.0.0.1", 0), login, from: client) == .forbidden)
    #expect(try bench.permit([address("10.1.2.3", 0)], login, from: client) == nil)
    #expect(try bench.permit([address("10.1.1.3", 0)], login, from: client) == .forbidden)
    #expect(try bench.permit([address("10.2.2.3", 0)], login, from: client) == .forbidden)
    // The permission is one of the address, but data goes to the named port only, and comes from it only.
    for port: UInt16 in [22, 5000] {
      var send = STUNMessageBuilder(.indication, .send, transactionID: bench.transactionID())
      send.append(.xorPeerAddress, try address("127.0.0.1", port))
      send.append(.data, [1])
      bench.ask(send.bytes, from: client)
    }
    #expect(bench.forwards.map(\.peer) == [named])
    let strange = bench.fromPeer([1], try address("127.0.0.1", 22))
    let expected = bench.fromPeer([1], named)
    #expect(strange == nil)
    #expect(expected != nil)
  }

  @Test(
    "T3: a public address of the server's own host is refused, and running allocations learn another policy")
  func hostAddresses() throws {
    let own = try address("203.0.113.1", 53)
    var bench = try TURNServerBench { $0.peerPolicy = TURNPeerPolicy(hostAddresses: [own.ip]) }
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    #expect(try bench.bind(0x4000, own, login, from: client) == .forbidden)
    bench.server.update(peerPolicy: TURNPeerPolicy(allowedPeers: [own], hostAddresses: [own.ip]))
    #expect(try bench.bind(0x4000, own, login, from: client) == nil)
    bench.server.update(peerPolicy: TURNPeerPolicy(hostAddresses: [own.ip]))
    #expect(try bench.bind(0x4000, own, login, from: client) == .forbidden)
    let fromOwn = bench.fromPeer([1], own)
    #expect(fromOwn == nil)
  }

  @Test("T3: relayed addresses of a server inside a private network reach each other and nothing else there")
  func ownRelays() throws {
    var world = try TURNWorld(seed: 1)
    world.relayAddress = try address("192.168.1.5", 1).ip
    let own = try address("192.168.1.5", 49_152)
    world.connect(to: [own])
    world.send([1], to: own)
    world.client.bindChannel(to: try address("192.168.1.5", 22), at: world.now)
    world.run(for: .seconds(1))
    #expect(world.peersReceived.map(\.peer) == [own])
    #expect(world.events.last == .channelRefused(try address("192.168.1.5", 22), .forbidden))
  }

  /// Writes into memory that is full of ones, so that a byte that was skipped shows.
  private func written(_ body: (inout OutputRawSpan) -> Void) -> [UInt8] {
    var memory = [UInt8](repeating: 0xff, count: 4096)
    memory.withUnsafeMutableBytes { buffer in
      var output = OutputRawSpan(buffer: buffer, initializedCount: 0)
      body(&output)
      _ = output.finalize(for: buffer)
    }
    return memory
  }

  @Test("T4: every padding byte of ChannelData, indications and attributes is 0", arguments: 0..<9)
  func padding(payloadByteCount: Int) throws {
    var world = try TURNWorld(seed: 1, isStream: true)
    let peer = try address("198.51.100.7", 5000)
    world.client.start(at: .zero)
    world.client.permit(peer.ip, at: .zero)
    world.run(for: .seconds(1))
    let payload = [UInt8](repeating: 0xee, count: payloadByteCount)
    let paddingByteCount = (4 - payloadByteCount % 4) % 4
    let relay = try #require(world.openRelays.keys.first)
    for overhead in [36, 4] {
      let (upByClient, downByServer) = (
        written { _ = world.client.wrap(payload.rawSpan, to: peer, into: &$0) },
        written { _ = world.server.relay(payload.rawSpan, from: peer, on: relay, into: &$0, at: world.now) }
      )
      for bytes in [upByClient, downByServer] {
        let tail = Array(bytes[overhead...].prefix(payloadByteCount + paddingByteCount + 1))
        #expect(tail == payload + [UInt8](repeating: 0, count: paddingByteCount) + [0xff])
      }
      world.client.bindChannel(to: peer, at: world.now)
      world.run(for: .seconds(1))
    }
    let id = STUNTransactionID(prefix: 1, suffix: 2)
    var builder = STUNMessageBuilder(.request, transactionID: id)
    builder.append(.realm, payload)
    #expect(Array(builder.bytes.suffix(paddingByteCount)) == [UInt8](repeating: 0, count: paddingByteCount))
  }

  @Test("T5: what stands after MESSAGE-INTEGRITY has no effect on the server")
  func afterIntegrity() throws {
    var bench = try TURNServerBench()
    let login = try bench.login(from: client)
    #expect(try bench.allocate(login, from: client) == nil)
    var request = bench.request(.refresh, login) { _ in }
    // LIFETIME 0 behind the integrity would end the allocation.
    request += [0, 0x0d, 0, 4, 0, 0, 0, 0]
    let length = request.count - 20
    request[2] = UInt8(length >> 8)
    request[3] = UInt8(length & 0xff)
    let answer = try #require(bench.ask(request, from: client).first)
    #expect(errorCode(of: answer) == nil)
    let count = bench.server.allocationCount
    #expect(count == 1)
  }
}
