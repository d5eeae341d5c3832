// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO

/// What a socket tells the loop that it belongs to.
protocol UDPSocketDelegate: AnyObject {
  /// Datagrams arrived from one address; all have `segmentByteCount` bytes but the last.
  func socket(
    _ socket: UDPSocket, received datagrams: RawSpan, segmentByteCount: Int, from remote: TransportAddress)
  /// What was there to be read for now has been read.
  func socketReceivedAll(_ socket: UDPSocket)
  /// A datagram was dropped.
  func socket(_ socket: UDPSocket, dropped cause: NetworkDropCause)
  /// The channel closed by itself, or could not be made; another one follows.
  func socket(_ socket: UDPSocket, lostChannel reason: String)
}

/// One UDP socket of a loop, shared by all its peers, that survives its channels.
///
/// The first datagram to every address is a probe: written, flushed and judged alone, because the error of a
/// send closes the channel (threat T45). A refused address is left alone for a while, the channel is made
/// again on the same kernel socket, and no other peer loses a datagram. Segmentation offload is probed
/// likewise and turned off for addresses where it fails. Confined to the event loop.
final class UDPSocket {
  /// Messages that wait for a new channel at most; one turn of a loop with many viewers fits.
  static let heldMessagesMax = 512
  /// Addresses whose probes are remembered at most, far above what the peers of one loop use.
  static let targetsMax = 16_384
  /// How long an address that the system refused is left alone: a network that comes back is found soon, and
  /// a bad candidate costs two channels a second at most.
  static let refusalTime = TimeDelta.milliseconds(500)
  /// A channel that could not be made is tried again after this time.
  static let reopenTime = TimeAmount.milliseconds(100)
  /// The kernel's limit of segments in one send before Linux 6.9 (UDP_MAX_SEGMENTS).
  static let segmentsMax = 64
  /// Bytes that may wait in a channel: some 300 bursts, so that a loop turn with a key frame for all fits.
  static let writeQueueByteCount = 4 << 20
  /// Messages read before the loop turns to something else.
  static let messagesPerReadMax: UInt = 16

  /// The socket as the cores know it.
  let local: LocalSocket
  /// How often a channel was made again.
  private(set) var rebuildCount = 0

  private let kernel: KernelSocket
  private let eventLoop: any EventLoop
  /// Broadcast addresses of the host's networks, which are never sent to.
  var forbidden: Set<IPAddress>
  private weak let delegate: (any UDPSocketDelegate)?

  private var handler: DatagramHandler?
  private var isShutDown = false
  private var isReopening = false
  private var receivesOffloaded = System.supportsUDPReceiveOffload
  private let sendsOffloaded: Bool
  private var needsFlush = false

  private var targets: [TransportAddress: Target] = [:]
  /// Counts the channels: what was learned of an address with an older channel has to be learned again.
  private var generation = 0
  private var held: BoundedQueue<Message>

  /// A message: one datagram, or several of equal size but the last.
  private struct Message {
    let target: Target
    let buffer: ByteBuffer
    let segmentByteCount: Int
    var isSegmented: Bool { buffer.readableBytes > segmentByteCount }
  }

  /// What is known of an address that we send to.
  private final class Target {
    let address: SocketAddress
    /// The generations in which single and segmented sends were seen to succeed.
    var provenSingle = -1
    var provenSegmented = -1
    var takesSegments: Bool
    var refusedUntil = Instant(nanoseconds: .min)

    init(address: SocketAddress, takesSegments: Bool) {
      self.address = address
      self.takesSegments = takesSegments
    }
  }

  /// Takes a bound kernel socket into an event loop; ``open()`` starts it.
  ///
  /// - Parameters:
  ///   - forbidden: broadcast addresses of the host's networks.
  ///   - sendsOffloaded: whether segmentation offload may be used at all.
  init(
    id: UInt32, kernel: KernelSocket, eventLoop: any EventLoop, forbidden: Set<IPAddress>,
    sendsOffloaded: Bool, delegate: any UDPSocketDelegate
  ) {
    local = LocalSocket(id: id, address: kernel.address)
    self.kernel = kernel
    self.eventLoop = eventLoop
    self.forbidden = forbidden
    self.delegate = delegate
    self.sendsOffloaded = sendsOffloaded && System.supportsUDPSegmentationOffload
    held = BoundedQueue(capacity: Self.heldMessagesMax)
  }

  // MARK: The channel

  /// Makes a channel on a duplicate of the kernel socket. On failure it is tried again, and so on.
  func open() {
    eventLoop.preconditionInEventLoop()
    guard !isShutDown, handler == nil else { return }
    let copy: CInt
    do throws(NetworkError) { copy = try kernel.duplicate() } catch {
      reopenLater(because: error.description)
      return
    }
    let handler = DatagramHandler(socket: self)
    let confined = LoopConfined(handler, to: eventLoop)
    let high = Self.writeQueueByteCount
    var bootstrap = DatagramBootstrap(group: eventLoop)
      .channelOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
      .channelOption(.maxMessagesPerRead, value: Self.messagesPerReadMax)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(confined.value)
        }
      }
    if receivesOffloaded {
      // Offloaded reads need room for the largest aggregate; in smaller buffers datagrams vanish silently.
      bootstrap =
        bootstrap
        .channelOption(.datagramReceiveOffload, value: true)
        .channelOption(.datagramReceiveSegmentSize, value: true)
        .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 65_535))
    }
    self.handler = handler
    bootstrap.withBoundSocket(copy).assumeIsolated().whenComplete { result in
      switch result {
      case .success: self.channelOpened()
      case .failure(let error):
        self.handler = nil
        self.receivesOffloaded = false
        self.reopenLater(because: "\(error)")
      }
    }
  }

  /// Closes the socket for good; what waits is dropped.
  func shutdown() {
    isShutDown = true
    handler?.close()
    handler = nil
    held.removeAll()
    targets.removeAll()
  }

  /// Whether datagrams flow at present.
  var isOpen: Bool { handler?.isActive ?? false }

  /// Closes the channel as a send error would; for tests of the recovery.
  func closeChannelForTesting() { handler?.close() }

  private func channelOpened() {
    let messages = held.count
    for _ in 0..<messages {
      guard let message = held.popFirst() else { break }
      write(message, at: NetworkClock.now)
    }
    flush()
  }

  /// A channel ended; unless we ended it, the next one is made in the loop's next step.
  func channelClosed(_ closed: DatagramHandler) {
    guard closed === handler, !isShutDown else { return }
    handler = nil
    generation += 1
    rebuildCount += 1
    delegate?.socket(self, lostChannel: "closed by a send or read error")
    guard !isReopening else { return }
    isReopening = true
    eventLoop.assumeIsolated().execute {
      self.isReopening = false
      self.open()
    }
  }

  private func reopenLater(because reason: String) {
    delegate?.socket(self, lostChannel: reason)
    guard !isReopening else { return }
    isReopening = true
    eventLoop.assumeIsolated().scheduleTask(in: Self.reopenTime) {
      self.isReopening = false
      self.open()
    }
  }

  /// An error that the channel reports beside closing; nothing hangs on it.
  func noteError(_ error: any Error) {}

  // MARK: Receiving

  /// Hands what one read brought to the loop.
  func received(_ datagrams: RawSpan, segmentByteCount: Int?, from remote: TransportAddress) {
    let whole = datagrams.byteCount
    let segment = segmentByteCount.map { $0 > 0 ? min($0, whole) : whole } ?? whole
    delegate?.socket(self, received: datagrams, segmentByteCount: segment, from: remote)
  }

  func receivedAll() { delegate?.socketReceivedAll(self) }

  // MARK: Sending

  /// Queues what a core wrote; ``flush()`` sends it.
  func send(_ buffer: ByteBuffer, as transmit: Transmit, at now: Instant) {
    guard let target = target(for: transmit.route) else {
      drop(.refusedDestination)
      return
    }
    let message = Message(target: target, buffer: buffer, segmentByteCount: transmit.segmentByteCount)
    write(message, at: now)
  }

  /// Sends what was queued since the last flush.
  func flush() {
    guard needsFlush else { return }
    needsFlush = false
    handler?.flush()
  }

  private func target(for route: Route) -> Target? {
    if let known = targets[route.remote] { return known }
    guard Route(sendingFrom: local, to: route.remote) != nil, !forbidden.contains(route.remote.ip) else {
      return nil
    }
    if targets.count >= Self.targetsMax { targets.removeAll(keepingCapacity: true) }
    let target = Target(address: route.remote.socketAddress, takesSegments: sendsOffloaded)
    targets[route.remote] = target
    return target
  }

  private func write(_ message: Message, at now: Instant) {
    let target = message.target
    guard target.refusedUntil <= now else { return drop(.unreachableDestination) }
    guard let handler, handler.isActive else { return hold(message) }
    guard handler.isWritable else { return drop(.sendQueueFull) }
    let segmentCount =
      (message.buffer.readableBytes + message.segmentByteCount - 1) / message.segmentByteCount
    if message.isSegmented, !target.takesSegments || segmentCount > Self.segmentsMax {
      return writeSingles(of: message, at: now)
    }
    let isProven = (message.isSegmented ? target.provenSegmented : target.provenSingle) == generation
    guard isProven else { return probe(message, on: handler) }
    handler.write(Self.envelope(message))
    needsFlush = true
  }

  private static func envelope(_ message: Message) -> AddressedEnvelope<ByteBuffer> {
    guard message.isSegmented else {
      return AddressedEnvelope(remoteAddress: message.target.address, data: message.buffer)
    }
    return AddressedEnvelope(
      remoteAddress: message.target.address, data: message.buffer,
      metadata: .init(
        ecnState: .transportNotCapable, packetInfo: nil, segmentSize: message.segmentByteCount))
  }

  private func writeSingles(of message: Message, at now: Instant) {
    var rest = message.buffer
    while let part = rest.readSlice(length: min(message.segmentByteCount, rest.readableBytes)),
      part.readableBytes > 0
    {
      write(
        Message(target: message.target, buffer: part, segmentByteCount: part.readableBytes), at: now)
    }
  }

  /// Sends what was queued before, then this message alone, so that its error is known to be its own.
  private func probe(_ message: Message, on handler: DatagramHandler) {
    flush()
    let probed = generation
    let promise = eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { result in
      switch result {
      case .success:
        if message.isSegmented {
          message.target.provenSegmented = probed
        } else {
          message.target.provenSingle = probed
        }
      case .failure: self.probeFailed(message)
      }
    }
    handler.write(Self.envelope(message), promise: promise)
    handler.flush()
  }

  private func probeFailed(_ message: Message) {
    guard !isShutDown else { return }
    let now = NetworkClock.now
    if message.isSegmented {
      message.target.takesSegments = false
      writeSingles(of: message, at: now)
    } else {
      message.target.refusedUntil = now + Self.refusalTime
      drop(.unreachableDestination)
    }
  }

  private func hold(_ message: Message) {
    guard !isShutDown, held.append(message) else { return drop(.socketClosed) }
  }

  private func drop(_ cause: NetworkDropCause) { delegate?.socket(self, dropped: cause) }
}
