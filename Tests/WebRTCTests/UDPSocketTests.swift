// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO
import Testing

@testable import WebRTC

/// Two sockets on loopback, on one event loop. What the second one receives comes out as a stream.
@Suite("UDPSocket: one shared socket that survives its channels", .timeLimit(.minutes(1)))
struct UDPSocketTests {
  @Test("single datagrams and segmented bursts arrive whole and apart")
  func bursts() async throws {
    let pair = try await SocketPair()
    let burst = (0..<9).map { [UInt8](repeating: UInt8($0), count: $0 == 8 ? 300 : 1000) }
    await pair.run { sockets, now in
      sockets.send([[1, 2, 3]], now: now)
      sockets.send(burst, now: now)
      sockets.send(burst, now: now)
      sockets.left.flush()
    }
    let received = await pair.receive(count: 19)
    #expect(received == [[1, 2, 3]] + burst + burst)
    await pair.shutdown()
  }

  @Test("without segmentation offload a burst leaves as single datagrams")
  func withoutOffload() async throws {
    let pair = try await SocketPair(sendsOffloaded: false)
    let burst = (0..<5).map { [UInt8](repeating: UInt8($0), count: 700) }
    await pair.run { sockets, now in
      sockets.send(burst, now: now)
      sockets.left.flush()
    }
    let received = await pair.receive(count: 5)
    #expect(received == burst)
    await pair.shutdown()
  }

  @Test(
    "T45 addresses that must not be sent to never reach the kernel",
    arguments: ["127.0.0.1:0", "255.255.255.255:9", "224.0.0.1:9", "0.0.0.0:9", "192.0.2.1:9", "127.0.0.9:9"])
  func refusedAddresses(text: String) async throws {
    let parts = text.split(separator: ":")
    let address = TransportAddress(
      ip: try #require(IPAddress(String(parts[0]))), port: try #require(UInt16(parts[1])))
    // 127.0.0.9 stands for the broadcast address of one of the host's networks.
    let pair = try await SocketPair(forbidden: [IPAddress(ipv4: 0x7f00_0009)])
    let counts = await pair.run { sockets, now in
      sockets.send([[0]], to: address, now: now)
      sockets.send([[7]], now: now)
      sockets.left.flush()
      return (sockets.drops[.refusedDestination], sockets.left.rebuildCount)
    }
    #expect(counts.0 == 1)
    #expect(counts.1 == 0)
    let received = await pair.receive(count: 1)
    #expect(received == [[7]])
    await pair.shutdown()
  }

  /// 127.255.255.255 looks like any loopback address, and the kernel answers EACCES: the channel closes.
  @Test("T45 an address that the kernel refuses costs the other peers of the socket nothing")
  func kernelRefusal() async throws {
    let pair = try await SocketPair()
    let refused = TransportAddress(ip: IPAddress(ipv4: 0x7fff_ffff), port: 9)
    let (localPort, start) = await pair.run { sockets, now in
      sockets.send([[1]], now: now)
      sockets.send([[0]], to: refused, now: now)
      sockets.send([[2]], now: now)
      sockets.send([[0]], to: refused, now: now)
      sockets.send([[3], [4]], now: now)
      sockets.left.flush()
      return (sockets.left.local.address.port, now)
    }
    let received = await pair.receive(count: 4)
    #expect(received == [[1], [2], [3], [4]])
    #expect(pair.senders.allSatisfy { $0.port == localPort })
    let outcome = await pair.run { sockets, now in
      // Within the time of refusal, which no slow machine can let pass here, the address is not tried again.
      sockets.send([[0]], to: refused, now: start)
      sockets.send([[5]], now: now)
      sockets.left.flush()
      return (sockets.left.rebuildCount, sockets.drops[.unreachableDestination], sockets.left.isOpen)
    }
    #expect(outcome.0 == 1)
    #expect(outcome.1 == 3)
    #expect(outcome.2)
    let last = await pair.receive(count: 1)
    #expect(last == [[5]])
    await pair.shutdown()
  }

  @Test("T45 a channel that closes is made again on the same port; nothing is lost in either direction")
  func rebuild() async throws {
    let pair = try await SocketPair()
    await pair.run { sockets, now in
      sockets.right.closeChannelForTesting()
      sockets.left.closeChannelForTesting()
      sockets.send([[1]], now: now)
      sockets.left.flush()
    }
    let first = await pair.receive(count: 1)
    #expect(first == [[1]])
    let outcome = await pair.run { sockets, now in
      sockets.send([[2]], now: now)
      sockets.left.flush()
      return (sockets.left.rebuildCount, sockets.right.rebuildCount, sockets.lostChannels)
    }
    #expect(outcome == (1, 1, 2))
    let second = await pair.receive(count: 1)
    #expect(second == [[2]])
    #expect(Set(pair.senders.map(\.port)).count == 1)
    await pair.shutdown()
  }

  @Test("a socket whose channel is gone holds a bounded number of messages")
  func heldMessages() async throws {
    let pair = try await SocketPair()
    let dropped = await pair.run { sockets, now in
      sockets.left.closeChannelForTesting()
      for _ in 0..<UDPSocket.heldMessagesMax + 5 { sockets.send([[1]], now: now) }
      return sockets.drops[.socketClosed]
    }
    #expect(dropped == 5)
    let received = await pair.receive(count: UDPSocket.heldMessagesMax)
    #expect(received.count == UDPSocket.heldMessagesMax)
    await pair.shutdown()
  }

  @Test("a port that is taken is one sentence with the address")
  func portTaken() throws {
    let loopback = IPAddress(ipv4: 0x7f00_0001)
    let first = try KernelSocket(binding: loopback, port: 0, bufferByteCount: 1 << 16)
    let error = #expect(throws: NetworkError.self) {
      try KernelSocket(binding: loopback, port: first.address.port, bufferByteCount: 1 << 16)
    }
    #expect(error?.description.contains("127.0.0.1:\(first.address.port)") == true)
    #expect(first.address.port != 0)
  }
}

/// The sockets of a test. Confined to their event loop.
final class TestSockets: UDPSocketDelegate {
  private(set) var left: UDPSocket!
  private(set) var right: UDPSocket!
  private(set) var drops = DropCounters<NetworkDropCause>()
  private(set) var lostChannels = 0
  private let sink: AsyncStream<(TransportAddress, [UInt8])>.Continuation

  init(sink: AsyncStream<(TransportAddress, [UInt8])>.Continuation) { self.sink = sink }

  func open(
    _ kernel: [KernelSocket], on eventLoop: any EventLoop, forbidden: Set<IPAddress>, sendsOffloaded: Bool
  ) {
    let sockets = kernel.enumerated().map { index, kernel in
      UDPSocket(
        id: UInt32(index), kernel: kernel, eventLoop: eventLoop, forbidden: forbidden,
        sendsOffloaded: sendsOffloaded, delegate: self)
    }
    (left, right) = (sockets[0], sockets[1])
    left.open()
    right.open()
  }

  func send(_ datagrams: [[UInt8]], to address: TransportAddress? = nil, now: Instant) {
    let route = Route(receivedOn: left.local, from: address ?? right.local.address)
    let transmit = Transmit(
      route: route, segmentByteCount: datagrams[0].count, segmentCount: datagrams.count)
    left.send(ByteBuffer(bytes: datagrams.joined()), as: transmit, at: now)
  }

  func socket(
    _ socket: UDPSocket, received datagrams: RawSpan, segmentByteCount: Int, from remote: TransportAddress
  ) {
    guard socket === right else { return }
    var start = 0
    while start < datagrams.byteCount {
      let end = min(start + segmentByteCount, datagrams.byteCount)
      sink.yield((remote, [UInt8](copying: datagrams.extracting(start..<end))))
      start = end
    }
  }

  func socketReceivedAll(_ socket: UDPSocket) {}
  func socket(_ socket: UDPSocket, dropped cause: NetworkDropCause) { drops[cause] += 1 }
  func socket(_ socket: UDPSocket, lostChannel reason: String) { lostChannels += 1 }
}

/// ``TestSockets`` seen from a test's task.
final class SocketPair {
  private let sockets: LoopConfined<TestSockets>
  private let received: AsyncStream<(TransportAddress, [UInt8])>
  private(set) var senders: [TransportAddress] = []

  init(forbidden: Set<IPAddress> = [], sendsOffloaded: Bool = true) async throws {
    let loopback = IPAddress(ipv4: 0x7f00_0001)
    let (stream, sink) = AsyncStream.makeStream(of: (TransportAddress, [UInt8]).self)
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let sockets = LoopConfined(TestSockets(sink: sink), to: eventLoop)
    received = stream
    self.sockets = sockets
    try await eventLoop.submit {
      let kernel = try (0..<2).map { _ in
        try KernelSocket(binding: loopback, port: 0, bufferByteCount: 1 << 20)
      }
      sockets.value.open(kernel, on: eventLoop, forbidden: forbidden, sendsOffloaded: sendsOffloaded)
    }.get()
  }

  func run<Result: Sendable>(_ body: @escaping @Sendable (TestSockets, Instant) -> Result) async -> Result {
    let sockets = sockets
    return await withCheckedContinuation { continuation in
      sockets.eventLoop.execute { continuation.resume(returning: body(sockets.value, NetworkClock.now)) }
    }
  }

  /// Waits until `count` datagrams have arrived; the suite's time limit ends a wait in vain.
  func receive(count: Int) async -> [[UInt8]] {
    var datagrams: [[UInt8]] = []
    for await (sender, datagram) in received {
      senders.append(sender)
      datagrams.append(datagram)
      if datagrams.count == count { break }
    }
    return datagrams
  }

  func shutdown() async {
    await run { sockets, _ in
      sockets.left.shutdown()
      sockets.right.shutdown()
    }
  }
}
