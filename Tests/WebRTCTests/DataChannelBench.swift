// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SansIO
  import Testing

  @testable import WebRTC

  /// Two connections to each other on two loops, with a data channel that the left one offered.
  struct ChannelBench: Sendable {
    let loops: Bench
    let left: PeerConnection
    let right: PeerConnection
    /// Both ends of the first channel.
    let first: DataChannel
    let firstRemote: DataChannel

    init(on loops: Bench? = nil) async throws {
      if let loops { self.loops = loops } else { self.loops = try await Bench() }
      left = try PeerConnection(on: self.loops.loop)
      right = try PeerConnection(configuration: .init(sharesSockets: false), on: self.loops.receiverLoop)
      first = try await left.createDataChannel("first")
      try await Self.negotiate(left, right)
      firstRemote = try await right.nextChannel()
      try await first.waitUntilOpen()
    }

    static func negotiate(_ left: PeerConnection, _ right: PeerConnection) async throws {
      let offer = try await left.setLocalDescription()
      try await right.setRemoteDescription(offer)
      let answer = try await right.setLocalDescription()
      try await left.setRemoteDescription(answer)
    }

    /// A channel of the left side and its other end.
    func makeChannel(_ parameters: DataChannelParameters) async throws -> (
      left: DataChannel, right: DataChannel
    ) {
      let channel = try await left.createDataChannel(parameters)
      return (channel, try await right.nextChannel())
    }

    func shutdown() async {
      await left.close()
      await right.close()
      await loops.shutdown()
    }

    /// Sends on a channel of the left side until the right side, where nobody reads it, takes no more.
    func fill(_ channel: DataChannel) async throws {
      let message = TestMessage.make(0, byteCount: 65_536)
      repeat {
        while (try? channel.trySend(message)) != nil {}
      } while try await !isWindowShut() || channel.bufferedAmount <= channel.highWaterMark
    }

    /// Returns when the right side takes no more.
    func waitUntilWindowIsShut() async throws {
      while try await !isWindowShut() {}
    }

    private func isWindowShut() async throws -> Bool {
      guard let transport = try await left.statistics().sctpTransport else { return false }
      return transport.receiverWindow < transport.mtu
    }
  }

  extension PeerConnection {
    struct NoChannel: Error {}

    /// The next channel that the peer opens; the suite's time limit ends a wait in vain.
    func nextChannel() async throws -> DataChannel {
      for await event in events {
        if case .dataChannelAdded(let channel) = event { return channel }
      }
      throw NoChannel()
    }
  }

  extension DataChannel {
    /// The next so many messages.
    func read(_ count: Int) async -> [DataChannelMessage] {
      var read: [DataChannelMessage] = []
      guard count > 0 else { return read }
      for await message in messages.prefix(count) { read.append(message) }
      return read
    }

    /// Sends everything back until the channel closes.
    func echo() async {
      for await message in messages { try? await send(message) }
    }

    /// The states until it is closed, that one included.
    func statesUntilClosed() async -> [DataChannelState] {
      var seen: [DataChannelState] = []
      for await state in states { seen.append(state) }
      return seen
    }
  }

  /// Messages that tell their place.
  enum TestMessage {
    static func make(_ number: Int, byteCount: Int) -> DataChannelMessage {
      var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31 &+ 7), count: byteCount)
      for index in 0..<min(8, byteCount) { bytes[index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
      return DataChannelMessage(bytes)
    }
  }
#endif
