// SPDX-License-Identifier: Apache-2.0

import DTLS
import NIOCore
import NIOPosix
import RTP
import SDP
import SansIO
import Testing

@testable import WebRTC
@testable import WebRTCCore

@Suite("Packets on a TCP connection, RFC 4571")
struct PacketFramingTests {
  @Test("packets come out as they went in, however the stream is cut", arguments: 1...12)
  func splits(pieceByteCount: Int) {
    let packets: [[UInt8]] = [[1, 2, 3], [4], [UInt8](repeating: 5, count: 300), [6, 7]]
    var stream = ByteBuffer()
    for packet in packets {
      stream.writeImmutableBuffer(
        PacketFraming.framed(
          ByteBuffer(bytes: packet), segmentByteCount: packet.count, allocator: ByteBufferAllocator()))
      // An empty packet between each two.
      stream.writeInteger(0 as UInt16)
    }
    var framing = PacketFraming()
    var received: [[UInt8]] = []
    while stream.readableBytes > 0,
      let piece = stream.readSlice(length: min(pieceByteCount, stream.readableBytes))
    {
      framing.append(piece)
      while let packet = framing.next() { received.append(Array(packet.readableBytesView)) }
      #expect(framing.bufferedByteCount <= 302)
    }
    #expect(received == packets)
    #expect(framing.bufferedByteCount == 0)
  }

  @Test("a burst becomes a stream of its packets, the last one shorter")
  func burst() {
    let stream = PacketFraming.framed(
      ByteBuffer(bytes: [1, 2, 3, 4, 5]), segmentByteCount: 2, allocator: ByteBufferAllocator())
    #expect(Array(stream.readableBytesView) == [0, 2, 1, 2, 0, 2, 3, 4, 0, 1, 5])
  }

  @Test("a length of all ones waits for its 65,535 bytes and keeps no more than those")
  func longest() {
    var framing = PacketFraming()
    framing.append(ByteBuffer(bytes: [0xff, 0xff]))
    for _ in 0..<65 {
      framing.append(ByteBuffer(repeating: 7, count: 1000))
      #expect(framing.next() == nil)
    }
    framing.append(ByteBuffer(repeating: 7, count: 535))
    #expect(framing.next()?.readableBytes == 65_535)
    #expect(framing.bufferedByteCount == 0)
  }
}

/// Over real TCP on loopback.
@Suite("TCP candidates of peers, RFC 6544", .timeLimit(.minutes(1)))
struct TCPConnectionTests {
  private let loopback = IPAddress(ipv4: 0x7f00_0001)

  @Test("a peer that can be reached by TCP alone is connected; media flows, and its going away is noticed")
  func connects() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback]))
    let peer = try await PassivePeer()
    let connection = try PeerConnection(on: loop)
    let audio = try await connection.addTransceiver(
      .audio, TransceiverInit(direction: .sendonly, codecs: [.opus]))
    let offer = try await connection.setLocalDescription()
    try await connection.setRemoteDescription(try await peer.answer(offer))
    try await connection.waitFor(.connected)
    try await peer.next { if case .connectionStateChanged(.connected) = $0 { true } else { nil } }
    for number in 0..<5 {
      audio.send(
        OpusPacketizer().packetize(
          packet: [0xfc, UInt8(number)], timestamp: 960 * UInt32(number), captureTime: NetworkClock.now))
    }
    for number in 0..<5 {
      let bytes = try await peer.next {
        if case .frameReceived(_, let frame) = $0 { frame.bytes } else { nil }
      }
      #expect(bytes == [0xfc, UInt8(number)])
    }
    #expect(await loop.run { state, _ in state.tcpConnections.count } == 1)
    await peer.disconnect()
    while await loop.run({ state, _ in state.tcpConnections.count }) > 0 { await Task.yield() }
    for await state in connection.iceConnectionStates where state == .disconnected || state == .failed {
      break
    }
    await connection.close()
    await peer.close()
    await loop.shutdown()
  }

  @Test("a closed connection takes its TCP connections along, also those that are being made")
  func closing() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback]))
    let peer = try await PassivePeer()
    let connection = try PeerConnection(on: loop)
    let (address, driver) = (peer.address, connection.handle.driver)
    let count = await loop.run { [loopback] state, _ in
      state.tcpConnections.open(from: loopback, to: address, for: driver.value)
      return state.tcpConnections.count
    }
    #expect(count == 1)
    await connection.close()
    #expect(await loop.run { state, _ in state.tcpConnections.count } == 0)
    await peer.close()
    await loop.shutdown()
  }

  @Test("T8 a peer's candidates make us knock at a bounded number of ports, and at none of other services")
  func bounds() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback]))
    let peer = try await PassivePeer()
    let first = try PeerConnection(on: loop)
    let second = try PeerConnection(on: loop)
    let (address, loopback) = (peer.address, loopback)
    let (one, other) = (first.handle.driver, second.handle.driver)
    let counts = await loop.run { state, _ in
      let connections = state.tcpConnections
      for port: UInt16 in [0, 22, 25, 1023] {
        connections.open(from: loopback, to: TransportAddress(ip: loopback, port: port), for: one.value)
      }
      for text in ["192.0.2.1", "0.0.0.0", "224.0.0.1", "::1"] {
        guard let ip = IPAddress(text) else { continue }
        connections.open(from: loopback, to: TransportAddress(ip: ip, port: 5000), for: one.value)
      }
      let refused = connections.count
      for _ in 0..<20 { connections.open(from: loopback, to: address, for: one.value) }
      let ofOne = connections.count
      connections.open(from: loopback, to: address, for: other.value)
      return (refused, ofOne, connections.count)
    }
    #expect(counts.0 == 0)
    #expect(counts.1 == TCPConnections.connectionsPerPeerMax)
    #expect(counts.2 == TCPConnections.connectionsPerPeerMax + 1)
    await first.close()
    #expect(await loop.run { state, _ in state.tcpConnections.count } == 1)
    await second.close()
    await peer.close()
    await loop.shutdown()
  }

  @Test("a connection that is refused is given up")
  func refused() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback]))
    let peer = try await PassivePeer()
    await peer.close()
    let connection = try PeerConnection(on: loop)
    let (address, driver, loopback) = (peer.address, connection.handle.driver, loopback)
    await loop.run { state, _ in
      state.tcpConnections.open(from: loopback, to: address, for: driver.value)
    }
    while await loop.run({ state, _ in state.tcpConnections.count }) > 0 { await Task.yield() }
    await connection.close()
    await loop.shutdown()
  }

  @Test("what a slow connection cannot take is dropped, not kept")
  func backPressure() async throws {
    let loop = try await NetworkLoop(configuration: .init(addresses: [loopback]))
    let peer = try await PassivePeer()
    let connection = try PeerConnection(on: loop)
    let (address, driver, loopback) = (peer.address, connection.handle.driver, loopback)
    await loop.run { state, _ in
      state.tcpConnections.open(from: loopback, to: address, for: driver.value)
    }
    while await loop.run({ state, _ in state.tcpConnections.routes.isEmpty }) { await Task.yield() }
    let bursts = 2 * TCPConnections.writeQueueByteCount / 10_000
    // All in one turn, so that nothing can leave meanwhile.
    let dropped = await loop.run { state, _ in
      let before = state.drops[.sendQueueFull]
      let transmit = Transmit(
        route: state.tcpConnections.routes[0], segmentByteCount: 1000, segmentCount: 10)
      for _ in 0..<bursts {
        state.tcpConnections.send(ByteBuffer(repeating: 0, count: 10_000), as: transmit)
      }
      return state.drops[.sendQueueFull] - before
    }
    let kept = bursts - Int(dropped)
    #expect(dropped > 0)
    #expect(kept * 10_000 <= TCPConnections.writeQueueByteCount + 10_000)
    #expect(kept * 10_000 > TCPConnections.writeQueueByteCount / 2)
    await connection.close()
    await peer.close()
    await loop.shutdown()
  }
}

/// The other end: listens on loopback, and runs a connection's core on the connection that it accepts.
private final class PassivePeer: Sendable {
  /// Where it listens.
  let address: TransportAddress
  private let state: LoopConfined<State>
  private let listener: any Channel
  private let events: AsyncStream<PeerConnectionCore.Event>

  /// The side of the event loop.
  private final class State {
    var core: PeerConnectionCore
    var socket: LocalSocket?
    var channel: (any Channel)?
    var timer: Scheduled<Void>?
    let sink: AsyncStream<PeerConnectionCore.Event>.Continuation
    let eventLoop: any EventLoop

    init(
      core: consuming PeerConnectionCore, sink: AsyncStream<PeerConnectionCore.Event>.Continuation,
      eventLoop: any EventLoop
    ) {
      self.core = core
      self.sink = sink
      self.eventLoop = eventLoop
    }

    func received(_ packet: ByteBuffer, from remote: TransportAddress) {
      guard let socket else { return }
      core.receive(
        packet.readableBytesSpan, on: Route(receivedOn: socket, from: remote), at: NetworkClock.now)
      drain()
    }

    func drain() {
      let now = NetworkClock.now
      while true {
        var transmit: Transmit?
        var burst = ByteBuffer()
        burst.writeWithOutputRawSpan(minimumWritableBytes: 16_384) {
          transmit = core.pollTransmit(into: &$0, at: now)
        }
        guard let transmit else { break }
        // There is no other way out than the connection.
        guard let channel, channel.remoteAddress.flatMap(TransportAddress.init) == transmit.route.remote
        else {
          continue
        }
        channel.writeAndFlush(
          PacketFraming.framed(
            burst, segmentByteCount: transmit.segmentByteCount, allocator: channel.allocator),
          promise: nil)
      }
      while let event = core.pollEvent() { sink.yield(event) }
      timer?.cancel()
      timer = core.nextDeadline.map { deadline in
        eventLoop.assumeIsolated().scheduleTask(deadline: NIODeadline(deadline)) {
          self.core.handleTimeout(at: NetworkClock.now)
          self.drain()
        }
      }
    }
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let state: State
    private var framing = PacketFraming()

    init(_ state: State) { self.state = state }

    func channelActive(context: ChannelHandlerContext) { state.channel = context.channel }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard let remote = context.remoteAddress.flatMap(TransportAddress.init) else { return }
      framing.append(unwrapInboundIn(data))
      while let packet = framing.next() { state.received(packet, from: remote) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  init() async throws {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let dtls = try DTLSContext()
    let configuration = PeerConnectionCore.Configuration(
      dtls: dtls, certificate: try dtls.makeCertificate(), random: .system, transactionPrefix: 7,
      wallClockNanosecondsAtZero: 0)
    let (events, sink) = AsyncStream.makeStream(of: PeerConnectionCore.Event.self)
    let core = PeerConnectionCore(configuration: configuration, at: NetworkClock.now)
    let state = LoopConfined(State(core: core, sink: sink, eventLoop: eventLoop), to: eventLoop)
    let listener = try await ServerBootstrap(group: eventLoop)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Handler(state.value))
        }
      }
      .bind(to: TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 0).socketAddress).get()
    address = try #require(listener.localAddress.flatMap(TransportAddress.init))
    self.state = state
    self.listener = listener
    self.events = events
  }

  /// Answers an offer, whose candidates it does not look at, with a single passive TCP candidate.
  func answer(_ offer: SessionDescriptionInit) async throws -> SessionDescriptionInit {
    let (state, address) = (state, address)
    let answer: SessionDescriptionInit = try await state.eventLoop.submit {
      let state = state.value
      let now = NetworkClock.now
      let socket = LocalSocket(id: TCPConnections.ids.lowerBound, address: address)
      state.socket = socket
      state.core.addLocalSocket(socket, at: now)
      _ = state.core.addTransceiver(.audio, TransceiverInit(direction: .recvonly, codecs: [.opus]))
      try state.core.setRemoteDescription(offer.withoutCandidates, at: now)
      let answer = try state.core.createAnswer(at: now)
      try state.core.setLocalDescription(answer, at: now)
      state.drain()
      return answer
    }.get()
    var changed = answer.withoutCandidates
    changed.sdp +=
      "a=candidate:1 1 tcp 1518280447 \(address.ip) \(address.port) typ host tcptype passive\r\n"
    return changed
  }

  struct Ended: Error {}

  /// The first coming event that `body` finds something in; the suite's time limit ends a wait in vain.
  @discardableResult
  func next<Found>(_ body: (PeerConnectionCore.Event) -> Found?) async throws -> Found {
    for await event in events {
      if let found = body(event) { return found }
    }
    throw Ended()
  }

  /// Ends the accepted connection.
  func disconnect() async { await run { $0.channel?.close(promise: nil) } }

  /// Stops listening and ends the accepted connection.
  func close() async {
    try? await listener.close()
    await run { state in
      state.channel?.close(promise: nil)
      state.timer?.cancel()
      state.core.close(at: NetworkClock.now)
    }
  }

  private func run(_ body: @escaping @Sendable (State) -> Void) async {
    let state = state
    await withCheckedContinuation { continuation in
      state.eventLoop.execute {
        body(state.value)
        continuation.resume()
      }
    }
  }
}

extension SessionDescriptionInit {
  /// The same description with no candidate in it.
  var withoutCandidates: SessionDescriptionInit {
    let lines = sdp.split(whereSeparator: \.isNewline)
      .filter { !$0.hasPrefix("a=candidate:") && !$0.hasPrefix("a=end-of-candidates") }
    return SessionDescriptionInit(type: type, sdp: lines.joined(separator: "\r\n") + "\r\n")
  }
}
