// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Synchronization
import Testing
import WebRTCCore

@testable import WebRTC

/// Pairs of connections that see each other through a TURN server on loopback, over real sockets.
@Suite("Relays and reflexive addresses over real sockets", .timeLimit(.minutes(2)))
struct RelayTests {
  @Test(
    "with relays alone media flows over every transport, and all is given back",
    arguments: TURNTransport.allCases)
  func everyTransport(transport: TURNTransport) async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [server.iceServer([transport])])
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    // Eight at a time: what the kernel's default buffer of the server's sockets takes.
    for first in stride(from: 0, to: 32, by: 8) {
      let pictures = (first..<first + 8).map { TestMedia.picture(number: $0, isKeyFrame: $0 % 8 == 0) }
      for picture in pictures { viewer.sender.video.send(picture.packetized) }
      var received: [[UInt8]] = []
      for await frame in viewer.receiver.video.frames.prefix(8) { received.append(frame.bytes) }
      #expect(received == pictures.map(\.accessUnit))
    }
    #expect(await bench.loop.statistics().drops[.sendQueueFull] == 0)
    let names = try viewer.candidates.withLock { candidates in
      try candidates.map { try #require($0.candidate.split(separator: " ").dropFirst(7).first) }
    }
    #expect(!names.isEmpty && names.allSatisfy { $0 == "relay" })
    let report = try await viewer.sender.connection.statistics()
    #expect(report.transport.dtlsState == "connected")
    #expect(await bench.loop.statistics().relayCount == 1)

    await viewer.close()
    #expect(await bench.loop.statistics().relayCount == 0)
    await bench.shutdown()
    #expect(await server.allocationCount() == 0)
    await server.kill()
  }

  #if DataChannels
    @Test(
      "bursts of data channels come through relays over every transport whole and in order",
      arguments: TURNTransport.allCases)
    func data(transport: TURNTransport) async throws {
      let server = try await TestTURNServer()
      let bench = try await RelayBench(servers: [server.iceServer([transport])])
      let viewer = try await bench.makeViewer()
      let near = try await viewer.receiver.connection.createDataChannel("relayed")
      try await viewer.connect()
      let far = try await viewer.sender.connection.nextChannel()
      try await near.waitUntilOpen()
      let messages = (0..<30).map { TestMessage.make($0, byteCount: 65_536) }
      for (from, to) in [(near, far), (far, near)] {
        async let received = to.read(messages.count)
        for message in messages { try await from.send(message) }
        let arrived = await received
        #expect(arrived == messages)
      }
      await viewer.close()
      await bench.shutdown()
      await server.kill()
    }
  #endif

  @Test("a relay behind a proxy works as any other")
  func proxied() async throws {
    let server = try await TestTURNServer()
    let proxy = try await TestProxy(authorization: "Basic dTpw")
    let bench = try await RelayBench(
      servers: [server.iceServer([.tls])],
      proxy: ProxyConfiguration(server: proxy.server(authorization: "Basic dTpw")))
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    try await viewer.exchangePicture()
    #expect(proxy.requests.withLock { $0.count } >= 2)
    await bench.shutdown()
    await proxy.close()
    await server.kill()
  }

  @Test("a spare relay is ready before the first viewer, whose answer then has it without waiting")
  func spare() async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [server.iceServer([.udp])], relaySpareCount: 2)
    while await bench.loop.statistics().spareRelayCount < 2 { await Task.yield() }
    let viewer = try await bench.makeViewer()
    let offer = try await viewer.receiver.connection.setLocalDescription()
    try await viewer.sender.connection.setRemoteDescription(offer)
    let answer = try await viewer.sender.connection.setLocalDescription()
    #expect(answer.sdp.contains("typ relay"))
    while await bench.loop.statistics().spareRelayCount < 2 { await Task.yield() }
    await bench.shutdown()
    await server.kill()
  }

  @Test("each shared socket's reflexive address is gathered once and stands in the answers to come")
  func reflexive() async throws {
    let server = try await TestTURNServer()
    // A server that sees another address than the socket's own is played by telling the loop of one.
    let bench = try await RelayBench(servers: [server.stunServer()], policy: .all)
    let mapped = TransportAddress(ip: IPAddress(ipv4: 0xc000_0207), port: 5000)
    await bench.loop.run { state, now in
      guard let socket = state.hostSockets.shared.first else { return }
      state.gathered(.serverReflexive(base: socket.local, mapped: mapped), at: now)
    }
    let viewer = try await bench.makeViewer()
    // The receiver has sockets of its own; where those are seen is its own affair too.
    await bench.receiverLoop.run { state, now in
      for socket in state.peers.compactMap({ $0?.ownSockets.first }) {
        state.gathered(.serverReflexive(base: socket.local, mapped: mapped), at: now)
      }
    }
    let offer = try await viewer.receiver.connection.setLocalDescription()
    #expect(offer.sdp.contains("192.0.2.7 5000 typ srflx"))
    let other = try await Side(on: bench.receiverLoop, direction: .recvonly)
    let otherOffer = try await other.connection.setLocalDescription()
    #expect(!otherOffer.sdp.contains("typ srflx"))
    try await viewer.sender.connection.setRemoteDescription(offer)
    let answer = try await viewer.sender.connection.setLocalDescription()
    #expect(answer.sdp.contains("192.0.2.7 5000 typ srflx"))
    try await viewer.receiver.connection.setRemoteDescription(answer)
    try await viewer.sender.connection.waitFor(.connected)
    while viewer.sender.connection.iceGatheringState != .complete { await Task.yield() }
    #expect(await server.framesReceived(.udp) >= 1)
    // The server's answers went to the gatherer and not to the connections.
    #expect(await bench.loop.statistics().drops[.unknownTransaction] == 0)
    await bench.shutdown()
    await server.kill()
  }

  @Test("T44 with relays alone no server is asked for the host's addresses")
  func privacy() async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [server.stunServer()])
    let viewer = try await bench.makeViewer()
    let offer = try await viewer.receiver.connection.setLocalDescription()
    for await candidate in viewer.receiver.connection.candidates.prefix(1) { #expect(candidate == nil) }
    #expect(!offer.sdp.contains("a=candidate"))
    #expect(await server.framesReceived(.udp) == 0)
    await bench.shutdown()
    await server.kill()
  }

  @Test(
    "a server that dies costs the connection its relay, and the application is told that a restart would help"
  )
  func serverDies() async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [server.iceServer([.tcp])])
    let viewer = try await bench.makeViewer()
    try await viewer.connect()
    let events = viewer.sender.connection.events
    await server.kill()
    while await bench.loop.statistics().relaysLost == 0 { await Task.yield() }
    for await event in events {
      if case .negotiationNeeded = event { break }
    }
    await bench.shutdown()
  }

  @Test("servers that come later serve connections that are there already")
  func update() async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [])
    let viewer = try await bench.makeViewer()
    let servers = try [server.iceServer([.udp])]
    await bench.loop.update(iceServers: servers)
    await bench.receiverLoop.update(iceServers: servers)
    try await viewer.connect()
    try await viewer.exchangePicture()
    await bench.shutdown()
    await server.kill()
  }

  @Test("T38 a relay whose server does not prove itself is not used, and its server learns no user name")
  func impostor() async throws {
    let server = try await TestTURNServer(certificate: "wrong-host")
    let bench = try await RelayBench(servers: [server.iceServer([.tls, .dtls])])
    let viewer = try await bench.makeViewer()
    _ = try await viewer.sender.connection.setLocalDescription()
    for await candidate in viewer.sender.connection.candidates.prefix(1) { #expect(candidate == nil) }
    #expect(await server.framesReceived(.tls) == 0)
    #expect(await server.framesReceived(.dtls) == 0)
    await bench.shutdown()
    await server.kill()
  }

  @Test("T40 connections that close while their relays are on the way leave nothing behind")
  func closeEarly() async throws {
    let server = try await TestTURNServer()
    let bench = try await RelayBench(servers: [server.iceServer([.udp, .tcp, .tls, .dtls])])
    var random = RandomSource(seed: 4040)
    for _ in 0..<20 {
      let connection = try PeerConnection(on: bench.loop)
      for _ in 0..<Int.random(in: 0..<300, using: &random) { await Task.yield() }
      await connection.close()
    }
    #expect(await bench.loop.statistics().relayCount == 0)
    await bench.shutdown()
    #expect(await server.allocationCount() == 0)
    await server.kill()
  }
}

/// Two loops on loopback that know the same servers.
private struct RelayBench {
  let loop: NetworkLoop
  let receiverLoop: NetworkLoop

  init(
    servers: [ICEServer], policy: ICETransportPolicy = .relay, relaySpareCount: Int = 0,
    proxy: ProxyConfiguration = .none
  ) async throws {
    var configuration = NetworkLoop.Configuration(addresses: [IPAddress(ipv4: 0x7f00_0001)])
    configuration.iceServers = servers
    configuration.iceTransportPolicy = policy
    configuration.relaySpareCount = relaySpareCount
    configuration.trustRoots = .pem(try TestCertificates.pem("authority"))
    configuration.proxy = proxy
    loop = try await NetworkLoop(configuration: configuration)
    receiverLoop = try await NetworkLoop(configuration: configuration)
  }

  func makeViewer() async throws -> RelayViewer {
    RelayViewer(
      sender: try await Side(on: loop, direction: .sendonly),
      receiver: try await Side(on: receiverLoop, direction: .recvonly))
  }

  func shutdown() async {
    await loop.shutdown()
    await receiverLoop.shutdown()
  }
}

/// A sending connection and its receiver, which tell each other their candidates as they find them.
private final class RelayViewer: Sendable {
  let sender: Side
  let receiver: Side
  /// Candidates that were told.
  let candidates = Mutex<[ICECandidateInit]>([])

  init(sender: Side, receiver: Side) {
    self.sender = sender
    self.receiver = receiver
  }

  func connect() async throws {
    let offer = try await receiver.connection.setLocalDescription()
    try await sender.connection.setRemoteDescription(offer)
    let answer = try await sender.connection.setLocalDescription()
    try await receiver.connection.setRemoteDescription(answer)
    Task { try await forward(from: sender.connection, to: receiver.connection) }
    Task { try await forward(from: receiver.connection, to: sender.connection) }
    try await sender.connection.waitFor(.connected)
    try await receiver.connection.waitFor(.connected)
  }

  private func forward(from source: PeerConnection, to destination: PeerConnection) async throws {
    for await candidate in source.candidates {
      if let candidate { candidates.withLock { $0.append(candidate) } }
      try await destination.addICECandidate(candidate)
    }
  }

  func exchangePicture() async throws {
    let picture = TestMedia.picture(number: 0, isKeyFrame: true)
    sender.video.send(picture.packetized)
    for await frame in receiver.video.frames.prefix(1) { #expect(frame.bytes == picture.accessUnit) }
  }

  func close() async {
    await sender.connection.close()
    await receiver.connection.close()
  }
}
