// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SansIO
  import Testing

  @testable import WebRTC

  /// How data channels begin and end, over real sockets on loopback.
  @Suite("Lives of data channels", .timeLimit(.minutes(3)))
  struct DataChannelLifeTests {
    @Test(
      "a close from either side delivers what was sent before, then ends messages and states at both ends")
    func closes() async throws {
      let bench = try await ChannelBench()
      for closesLeft in [true, false] {
        let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "\(closesLeft)"))
        let (closing, other) = closesLeft ? (left, right) : (right, left)
        try await left.waitUntilOpen()
        let (statesHere, statesThere) = (closing.states, other.states)
        for number in 0..<50 { try await closing.send(TestMessage.make(number, byteCount: 30_000)) }
        async let closed: Void = closing.close()
        var number = 0
        for await message in other.messages {
          #expect(message == TestMessage.make(number, byteCount: 30_000))
          number += 1
        }
        #expect(number == 50)
        await closed
        #expect(closing.state == .closed)
        #expect(other.state == .closed)
        for states in [statesHere, statesThere] {
          var seen: [DataChannelState] = []
          for await state in states { seen.append(state) }
          #expect(seen == [.open, .closing, .closed])
        }
        await #expect(throws: DataChannelError.notOpen) { try await closing.send("late") }
        #expect(throws: DataChannelError.notOpen) { try other.trySend(DataChannelMessage([1])) }
        await #expect(throws: DataChannelError.notOpen) { try await other.waitUntilOpen() }
        await #expect(throws: DataChannelError.notOpen) { try await other.statistics() }
        await closing.close()
      }
      await bench.shutdown()
    }

    @Test("closing ends waiting senders with an error; what was accepted before arrives")
    func closeWhileSendsWait() async throws {
      let bench = try await ChannelBench()
      let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "full"))
      left.highWaterMark = 100_000
      let results = try await withThrowingTaskGroup(of: DataChannelError?.self) { group in
        for number in 0..<300 {
          group.addTask {
            do throws(DataChannelError) {
              try await left.send(TestMessage.make(number, byteCount: 60_000))
              return nil
            } catch { return error }
          }
        }
        // No reader: the window fills, and most of the senders wait.
        try await bench.waitUntilWindowIsShut()
        let closing = Task { await left.close() }
        var results: [DataChannelError?] = []
        for try await result in group { results.append(result) }
        let sent = results.filter { $0 == nil }.count
        var received = 0
        for await message in right.messages {
          #expect(message.bytes.count == 60_000)
          received += 1
        }
        #expect(received == sent)
        await closing.value
        return results
      }
      #expect(results.contains(.notOpen))
      #expect(results.contains(nil))
      await bench.shutdown()
    }

    @Test("a channel that is let go closes by itself at both ends, also one that nobody took")
    func released() async throws {
      let bench = try await ChannelBench()
      func makeAndSend() async throws -> DataChannel {
        let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "short"))
        try await left.waitUntilOpen()
        try await left.send("goodbye")
        return right
      }
      let right = try await makeAndSend()
      var read: [String?] = []
      for await message in right.messages { read.append(message.text) }
      #expect(read == ["goodbye"])
      #expect(await right.statesUntilClosed().last == .closed)
      // One that the other side's application never looks at stays open until it is dropped there.
      let unseen = try await bench.left.createDataChannel("unseen")
      try await unseen.waitUntilOpen()
      for await event in bench.right.events {
        guard case .dataChannelAdded = event else { continue }
        break
      }
      #expect(await unseen.statesUntilClosed().last == .closed)
      await bench.shutdown()
    }

    @Test("a channel that ends before it opened closes, and its connection's end closes it too")
    func neverOpened() async throws {
      let bench = try await Bench()
      let connection = try PeerConnection(on: bench.loop)
      let closed = try await connection.createDataChannel("one")
      let ended = try await connection.createDataChannel("two")
      #expect(closed.state == .connecting)
      #expect(closed.messageByteCountMax == nil)
      await #expect(throws: DataChannelError.notOpen) { try await closed.send("early") }
      await closed.close()
      #expect(closed.state == .closed)
      let open = Task { try await ended.waitUntilOpen() }
      await connection.close()
      await #expect(throws: DataChannelError.notOpen) { try await open.value }
      #expect(ended.state == .closed)
      for await _ in ended.messages {}
      await #expect(throws: DataChannelError.notOpen) { try await connection.createDataChannel("late") }
      await bench.shutdown()
    }

    @Test("500 channels in turn: each opens, carries and closes; streams serve again")
    func manyInTurn() async throws {
      let bench = try await ChannelBench()
      var streams: Set<UInt16> = []
      for number in 0..<500 {
        let (left, right) = try await bench.makeChannel(DataChannelParameters(label: "\(number)"))
        try await left.waitUntilOpen()
        if let stream = left.streamID { streams.insert(stream) }
        #expect(right.label == "\(number)")
        try await left.send("\(number)")
        let read = await right.read(1)
        #expect(read.first?.text == "\(number)")
        if number % 2 == 0 { await left.close() } else { await right.close() }
        #expect(await left.statesUntilClosed().last == .closed)
        #expect(await right.statesUntilClosed().last == .closed)
      }
      #expect(streams.count <= 4)
      await bench.shutdown()
    }

    @Test("many channels at a time do not mix up their messages")
    func manyAtOnce() async throws {
      let bench = try await ChannelBench()
      var pairs: [(left: DataChannel, right: DataChannel)] = []
      for number in 0..<100 {
        pairs.append(try await bench.makeChannel(DataChannelParameters(label: "\(number)")))
      }
      for (left, right) in pairs {
        #expect(left.label == right.label)
        try await left.waitUntilOpen()
        try await left.send(left.label)
      }
      for (left, right) in pairs {
        let read = await right.read(1)
        #expect(read.first?.text == left.label)
      }
      await bench.shutdown()
    }

    @Test(
      "T40 an end at any point while messages flow ends all senders and readers and leaves nothing behind")
    func closeAtAnyPoint() async throws {
      let loops = try await Bench()
      for seed in 0..<40 as Range<UInt64> {
        var random = RandomSource(seed: seed)
        let bench = try await ChannelBench(on: loops)
        let delay = Int.random(in: 0..<400, using: &random)
        let ending = Int.random(in: 0..<4, using: &random)
        await withTaskGroup { group in
          for channel in [bench.first, bench.firstRemote] {
            group.addTask {
              var number = 0
              while (try? await channel.send(TestMessage.make(number, byteCount: 20_000))) != nil {
                number += 1
              }
            }
            group.addTask { for await _ in channel.messages {} }
            group.addTask { for await _ in channel.states {} }
            group.addTask { for await _ in channel.bufferedAmountLow {} }
          }
          for _ in 0..<delay { await Task.yield() }
          switch ending {
          case 0: await bench.left.close()
          case 1: await bench.right.close()
          case 2: await bench.first.close()
          default:
            async let left: Void = bench.first.close()
            async let right: Void = bench.firstRemote.close()
            _ = await (left, right)
          }
          // The peer of a closed connection hears of it by the goodbye; if that is lost, by nothing for a while.
          await bench.left.close()
          await bench.right.close()
        }
        #expect(bench.first.state == .closed, "seed \(seed)")
        #expect(bench.firstRemote.state == .closed, "seed \(seed)")
      }
      #expect(await loops.loop.statistics().connectionCount == 0)
      await loops.shutdown()
    }

    /// Remembers objects without keeping them.
    private final class Witness: @unchecked Sendable {
      weak var connection: PeerConnection?
      weak var link: ChannelLink?
      weak var driver: PeerDriver?
    }

    private func makeAndClose(on loops: Bench, _ witness: Witness) async throws {
      let bench = try await ChannelBench(on: loops)
      witness.connection = bench.right
      let unread = try await bench.left.createDataChannel("never read")
      try await unread.waitUntilOpen()
      witness.link = bench.firstRemote.link
      let driver = bench.right.handle.driver
      await loops.receiverLoop.run { _, _ in witness.driver = driver.value }
      try await bench.first.send("never read either")
      await bench.left.close()
      await bench.right.close()
    }

    @Test(
      "a connection that was closed and let go leaves nothing of its channels behind, events that nobody read included"
    )
    func releases() async throws {
      let loops = try await Bench()
      let witness = Witness()
      try await makeAndClose(on: loops, witness)
      // What is under way on the event loop keeps it a little longer.
      while witness.connection != nil || witness.link != nil || witness.driver != nil {
        _ = await loops.receiverLoop.statistics()
      }
      #expect(await loops.receiverLoop.statistics().connectionCount == 0)
      await loops.shutdown()
    }
  }
#endif
