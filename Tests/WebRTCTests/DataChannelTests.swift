// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SansIO
  import Testing

  @testable import WebRTC

  /// Data channels between two connections over real sockets on loopback.
  @Suite("Data channels over real sockets", .timeLimit(.minutes(2)))
  struct DataChannelTests {
    @Test("channels of both sides open; text, bytes and empty messages come back as they went")
    func echo() async throws {
      let bench = try await ChannelBench()
      #expect(bench.firstRemote.label == "first")
      let parameters = DataChannelParameters(
        label: "zurück", subprotocol: "test.1", isOrdered: false, reliability: .retransmissions(3),
        priority: .high)
      let own = try await bench.right.createDataChannel(parameters)
      let other = try await bench.left.nextChannel()
      #expect(other.label == "zurück")
      #expect(other.subprotocol == "test.1")
      #expect(!other.isOrdered)
      #expect(other.reliability == .retransmissions(3))
      #expect(other.priority == .high)
      #expect(!other.isNegotiated)
      #expect(other.state == .open)
      try await own.waitUntilOpen()
      #expect(own.streamID != nil)
      #expect(own.streamID == other.streamID)
      #expect(own.streamID != bench.first.streamID)
      let messages = [
        DataChannelMessage(text: "grüß dich"), DataChannelMessage([0, 1, 255]), DataChannelMessage(text: ""),
        DataChannelMessage([]),
      ]
      await withTaskGroup { group in
        group.addTask { await bench.firstRemote.echo() }
        group.addTask { await other.echo() }
        for channel in [bench.first, own] {
          for message in messages {
            try? await channel.send(message)
            let back = await channel.read(1)
            #expect(back == [message])
          }
        }
        await bench.first.close()
        await own.close()
      }
      await bench.shutdown()
    }

    @Test("messages of 1 byte to the longest that the peer takes arrive whole; a longer one is refused")
    func sizes() async throws {
      let bench = try await ChannelBench()
      let limit = try #require(bench.first.messageByteCountMax)
      #expect(limit == 262_144)
      let sizes = [1, 2, 1000, 1132, 1133, 1160, 1200, 16_384, 65_535, 65_536, 65_537, 262_143, 262_144]
      let messages = sizes.enumerated().map { TestMessage.make($0, byteCount: $1) }
      async let received = bench.firstRemote.read(messages.count)
      for message in messages { try await bench.first.send(message) }
      let arrived = await received
      #expect(arrived == messages)
      let tooLong = TestMessage.make(0, byteCount: limit + 1)
      await #expect(throws: DataChannelError.messageTooLong(limit: limit)) {
        try await bench.first.send(tooLong)
      }
      #expect(throws: DataChannelError.messageTooLong(limit: limit)) { try bench.first.trySend(tooLong) }
      let statistics = try await bench.first.statistics()
      #expect(statistics.messagesSent == UInt64(messages.count))
      #expect(statistics.bytesSent == UInt64(sizes.reduce(0, +)))
      await bench.shutdown()
    }

    @Test("20 MB to a reader that is slow: the sender waits, little piles up, everything arrives in order")
    func backPressure() async throws {
      let bench = try await ChannelBench()
      let (count, size) = (320, 65_536)
      let highWaterMark = bench.first.highWaterMark
      try await withThrowingTaskGroup { group in
        group.addTask {
          for number in 0..<count {
            try await bench.first.send(TestMessage.make(number, byteCount: size))
            #expect(bench.first.bufferedAmount <= highWaterMark + size)
          }
        }
        // Nobody reads: what is under way is bounded by the receive window (8 MiB) and the high-water mark.
        try await bench.waitUntilWindowIsShut()
        let sent = try await bench.first.statistics().bytesSent
        #expect(sent <= (8 << 20) + highWaterMark + 4 * size)
        var number = 0
        for await message in bench.firstRemote.messages.prefix(count) {
          #expect(message == TestMessage.make(number, byteCount: size))
          number += 1
        }
        #expect(number == count)
        try await group.waitForAll()
      }
      while bench.first.bufferedAmount > 0 { _ = await bench.loops.loop.statistics() }
      await bench.shutdown()
    }

    @Test("many short messages of several senders all arrive, each sender's in its order")
    func manySenders() async throws {
      let bench = try await ChannelBench()
      bench.first.highWaterMark = 4096
      let (senders, each) = (4, 2000)
      async let received = bench.firstRemote.read(senders * each)
      await withTaskGroup { group in
        for sender in 0..<senders {
          group.addTask {
            for number in 0..<each { try? await bench.first.send([UInt8(sender)] + "\(number)".utf8) }
          }
        }
      }
      var next = [Int](repeating: 0, count: senders)
      for message in await received {
        let sender = Int(message.bytes[0])
        #expect(message.bytes.dropFirst().elementsEqual("\(next[sender])".utf8))
        next[sender] += 1
      }
      #expect(next == [Int](repeating: each, count: senders))
      await bench.shutdown()
    }

    @Test("a channel that nobody reads holds the others up until it is let go")
    func unread() async throws {
      let bench = try await ChannelBench()
      let (left, witness) = try await fillUnread(bench)
      // Its other end was let go: it closes, and what arrives for it holds nobody up.
      #expect(await left.statesUntilClosed().last == .closed)
      #expect(witness.channel == nil)
      async let received = bench.firstRemote.read(40)
      for number in 0..<40 { try await bench.first.send(TestMessage.make(number, byteCount: 200_000)) }
      let arrived = await received
      #expect(arrived == (0..<40).map { TestMessage.make($0, byteCount: 200_000) })
      await bench.shutdown()
    }

    /// Remembers a channel without keeping it.
    private final class Witness: @unchecked Sendable { weak var channel: DataChannel? }

    private func fillUnread(_ bench: ChannelBench) async throws -> (DataChannel, Witness) {
      let witness = Witness()
      let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "unread"))
      witness.channel = right
      try await bench.fill(left)
      withExtendedLifetime(right) {}
      return (left, witness)
    }

    @Test("a reader that is cancelled reads no more, and what arrives holds nobody up")
    func cancelledReader() async throws {
      let bench = try await ChannelBench()
      let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "cancelled"))
      try await bench.fill(left)
      let reader = Task {
        var count = 0
        for await _ in right.messages { count += 1 }
        return count
      }
      reader.cancel()
      _ = await reader.value
      for number in 0..<200 { try await left.send(TestMessage.make(number, byteCount: 65_536)) }
      try await bench.first.send("still there?")
      #expect(await bench.firstRemote.read(1).first?.text == "still there?")
      #expect(right.state == .open)
      #expect(await right.read(1).isEmpty)
      await bench.shutdown()
    }

    @Test("bufferedAmountLow tells when what waits falls to the threshold")
    func low() async throws {
      let bench = try await ChannelBench()
      bench.first.bufferedAmountLowThreshold = 300_000
      async let received = bench.firstRemote.read(10)
      for number in 0..<10 { try await bench.first.send(TestMessage.make(number, byteCount: 100_000)) }
      for await _ in bench.first.bufferedAmountLow.prefix(1) {
        #expect(bench.first.bufferedAmount <= 300_000)
      }
      let arrived = await received
      #expect(arrived.count == 10)
      await bench.shutdown()
    }

    @Test("channels that both sides made with the same stream work without a word about them")
    func negotiated() async throws {
      let bench = try await ChannelBench()
      let parameters = DataChannelParameters(label: "by hand", negotiatedStream: 7)
      let left = try await bench.left.createDataChannel(parameters)
      let right = try await bench.right.createDataChannel(parameters)
      #expect(left.isNegotiated)
      #expect(left.streamID == 7)
      try await left.waitUntilOpen()
      try await right.waitUntilOpen()
      try await left.send("to the right")
      try await right.send("to the left")
      #expect(await right.read(1).first?.text == "to the right")
      #expect(await left.read(1).first?.text == "to the left")
      await #expect(throws: DataChannelError.streamUnavailable) {
        try await bench.left.createDataChannel(parameters)
      }
      await bench.shutdown()
    }

    @Test("frames reach one viewer while another connection of the same loop sends all that it can")
    func besideMedia() async throws {
      let bench = try await ChannelBench()
      let viewer = try await bench.loops.makeViewer()
      try await viewer.connect()
      await withTaskGroup { group in
        group.addTask { for await _ in bench.firstRemote.messages {} }
        group.addTask {
          let message = TestMessage.make(0, byteCount: 65_536)
          while (try? await bench.first.send(message)) != nil {}
        }
        for number in 0..<60 {
          let picture = TestMedia.picture(number: number, isKeyFrame: true)
          viewer.sender.video.send(picture.packetized)
          for await received in viewer.receiver.video.frames.prefix(1) {
            #expect(received.bytes == picture.accessUnit)
          }
        }
        await bench.left.close()
        await bench.right.close()
      }
      await viewer.sender.connection.close()
      await bench.shutdown()
    }
  }
#endif
