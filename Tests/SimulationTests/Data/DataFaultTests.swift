// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import ICE
  import SCTP
  import SansIO
  import Testing
  import WebRTCCore
  import WebRTCTesting

  /// Goal: whatever the network does to datagrams and paths, channels keep what their kind promises.
  @Suite("Data channels over networks with faults")
  struct DataFaultTests {
    private static let reliable = DataChannelParameters(label: "reliable")

    private static func conditions(random: inout RandomSource) -> LinkConditions {
      LinkConditions(
        delay: .milliseconds(Int64.random(in: 1...80, using: &random)),
        jitter: .milliseconds(Int64.random(in: 0...40, using: &random)),
        lossProbability: Double.random(in: 0...0.08, using: &random),
        duplicationProbability: Double.random(in: 0...0.05, using: &random),
        reorderingProbability: Double.random(in: 0...0.1, using: &random),
        rateBitsPerSecond: Bool.random(using: &random)
          ? Int64.random(in: 2...50, using: &random) * 1_000_000 : nil,
        packetByteCountMax: 1228)
    }

    /// A whole run of one seed: random links, random kinds of channels, with media or without.
    static func run(_ seed: UInt64) throws -> (traffic: DataTraffic, isSettled: Bool) {
      var random = RandomSource(seed: seed)
      let conditions = conditions(random: &random)
      let simulation = try Simulation(seed: seed, conditions: conditions)
      let call = DataCall(simulation)
      let hasMedia = Bool.random(using: &random)
      let media = hasMedia ? Call(simulation) : nil
      let kinds = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        DataTraffic.kinds[Int.random(in: 0..<DataTraffic.kinds.count, using: &random)]
      }
      var traffic = try DataTraffic(call, kinds: kinds)
      let isConnected = try call.connect(channels: kinds.count, within: .seconds(60))
      #expect(isConnected, "seed \(seed): \(conditions)")
      media?.sendMedia(pictures: 20, byteCount: 2000)
      for _ in 0..<2 {
        try traffic.send(6, byteCountMax: 8000, random: &random)
        simulation.run(atMost: .milliseconds(Int64.random(in: 0...300, using: &random)))
      }
      return (traffic, traffic.settle(within: .seconds(120)))
    }

    @Test(
      "Loss, delay, disorder and duplicates: each channel delivers what it promises, both ways",
      arguments: Seeds.data)
    func randomLinks(seed: UInt64) throws {
      let (traffic, isSettled) = try Self.run(seed)
      #expect(isSettled, "seed \(seed)")
      #expect(traffic.flows.count == 2 * traffic.kinds.count, "seed \(seed)")
      for flow in traffic.flows {
        #expect(flow.fault == nil, "seed \(seed): \(flow.parameters)")
      }
    }

    @Test("The same seed makes the same bytes at the same times")
    func isRepeatable() throws {
      for seed in [UInt64(31), 32, 33] {
        let runs = try (0..<2).map { _ in try Self.run(seed).traffic.call.run }
        #expect(runs[0].network.digest == runs[1].network.digest, "seed \(seed)")
        #expect(runs[0].now == runs[1].now, "seed \(seed)")
      }
    }

    @Test("No datagram is longer than 1,200 bytes, and bulk data fills its datagrams")
    func datagramSize() throws {
      let call = try DataCall(seed: 520)
      let id = try call.caller.core.createDataChannel(Self.reliable, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      var sizes: [Int] = []
      call.run.network.tap = { bytes, _, _ in
        if (20...63).contains(bytes[0]) { sizes.append(bytes.count) }
        return [bytes]
      }
      try call.caller.core.send(DataCall.message(1, byteCount: 250_000), on: id, at: call.run.now)
      call.run.run(atMost: .seconds(3))
      #expect(call.callee.messages.count == 1)
      let longest = try #require(sizes.max())
      #expect(longest <= 1200 && longest > 1190)
      #expect(sizes.count { $0 == longest } >= 250_000 / 1160)
    }

    // MARK: Paths

    /// Hands in a message every 20 ms from now on.
    private func sendSteadily(
      _ count: Int, byteCount: Int, on id: DataChannelID, of peer: SimulatedPeer, in run: Simulation
    ) {
      for number in 0..<count {
        run.schedule(after: .milliseconds(Int64(20 * number))) { run in
          do { try peer.core.send(DataCall.message(number, byteCount: byteCount), on: id, at: run.now) } catch
          {
            Issue.record("message \(number): \(error)")
          }
        }
      }
    }

    private func expectAll(_ count: Int, at peer: SimulatedPeer, _ comment: Comment) {
      #expect(peer.messages.map { DataCall.number(of: $0.message.bytes) } == Array(0..<count), comment)
      #expect(peer.messages.allSatisfy { DataCall.isWhole($0.message.bytes) }, comment)
    }

    @Test("ICE restarts from both sides in the middle of a transfer: not a message is lost or late")
    func restarts() throws {
      let call = try DataCall(seed: 521)
      let id = try call.caller.core.createDataChannel(Self.reliable, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let negotiator = Negotiator(call.run)
      sendSteadily(400, byteCount: 5000, on: id, of: call.caller, in: call.run)
      for round in 0..<10 {
        (round % 2 == 0 ? call.caller : call.callee).core.restartICE(at: call.run.now)
        negotiator.run(atMost: .milliseconds(800))
      }
      negotiator.run(atMost: .seconds(3))
      #expect(negotiator.completedCount == 10 && negotiator.errors.isEmpty)
      expectAll(400, at: call.callee, "ten restarts")
      let arrivals = call.callee.messages.map(\.arrival)
      let longest = zip(arrivals, arrivals.dropFirst()).map { $1 - $0 }.max() ?? .zero
      #expect(longest <= .milliseconds(100))
      #expect(call.caller.sctpEnds.isEmpty && call.callee.sctpEnds.isEmpty)
    }

    @Test(
      "An outage of any length: time stands still for the association, and it goes on as soon as there is a path",
      arguments: [3, 8, 20, 24])
    func outage(seconds: Int64) throws {
      let call = try DataCall(seed: 522)
      let id = try call.caller.core.createDataChannel(Self.reliable, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      call.run.run(atMost: .seconds(2))
      sendSteadily(100, byteCount: 3000, on: id, of: call.caller, in: call.run)
      call.run.run(atMost: .seconds(1))
      call.run.network.isOpen = { _, _ in false }
      let before = call.run.turnCount
      call.run.run(atMost: .seconds(seconds))
      // Messages are handed in meanwhile, ICE asks, and that is all that happens.
      #expect(call.run.turnCount - before < 200 + 20 * Int(seconds))
      call.run.network.isOpen = { _, _ in true }
      let openAt = call.run.now
      let isDone = call.run.run(atMost: .seconds(20)) { $0.answerer.messages.count == 100 }
      #expect(isDone, "after \(seconds) s: \(call.callee.messages.count)")
      expectAll(100, at: call.callee, "after \(seconds) s")
      let first = call.callee.messages.map(\.arrival).first { $0 > openAt }
      // ICE's next check, and a round trip. An outage that ICE does not notice costs as much again, as with TCP.
      let limit = TimeDelta.milliseconds(seconds < 5 ? seconds * 1000 + 500 : 1500)
      let isPrompt = first.map { $0 - openAt <= limit } ?? false
      #expect(isPrompt, "\(seconds) s: open at \(openAt), heard at \(String(describing: first))")
      #expect(call.caller.sctpEnds.isEmpty && call.callee.sctpEnds.isEmpty)
    }

    @Test("A path that is lost for good and an ICE restart later: the association is still there")
    func restartAfterFailure() throws {
      let call = try DataCall(seed: 523, configureCallee: { $0.isPolite = true })
      let id = try call.caller.core.createDataChannel(Self.reliable, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let negotiator = Negotiator(call.run)
      sendSteadily(100, byteCount: 3000, on: id, of: call.caller, in: call.run)
      negotiator.run(atMost: .seconds(1))
      call.run.network.isOpen = { _, _ in false }
      negotiator.run(atMost: .seconds(120))
      #expect(call.caller.connectionState != .connected)
      #expect(call.caller.closedChannels.isEmpty)
      call.run.network.isOpen = { _, _ in true }
      call.caller.core.restartICE(at: call.run.now)
      let isDone = negotiator.run(atMost: .seconds(40)) { $0.answerer.messages.count == 100 }
      #expect(isDone)
      expectAll(100, at: call.callee, "after a failure")
    }

    @Test("The path dies and another lives: the transfer moves over, nothing is lost", arguments: Seeds.few)
    func failover(seed: UInt64) throws {
      let phone = try PathFaultTests.Phone(seed: seed)
      let id = try phone.call.viewer.core.createDataChannel(Self.reliable, at: .zero)
      try phone.connect()
      let run = phone.call.run
      #expect(phone.call.master.openChannels.count == 1, "seed \(seed)")
      sendSteadily(1000, byteCount: 2000, on: id, of: phone.call.viewer, in: run)
      run.run(atMost: .seconds(3))
      run.network.update(phone.wifi) { ($0.up, $0.down) = (.cut, .cut) }
      run.run(atMost: .seconds(40)) { $0.answerer.messages.count == 1000 }
      expectAll(1000, at: phone.call.master, "seed \(seed)")
      let arrivals = phone.call.master.messages.map(\.arrival)
      let longest = zip(arrivals, arrivals.dropFirst()).map { $1 - $0 }.max() ?? .zero
      #expect(longest <= .seconds(13), "seed \(seed)")
    }

    @Test(
      "The peer dies: within the time of consent the connection says so, then it is quiet, and closing ends all"
    )
    func peerDies() throws {
      let call = try DataCall(seed: 524)
      let id = try call.caller.core.createDataChannel(Self.reliable, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      try call.caller.core.send(DataCall.message(0, byteCount: 250_000), on: id, at: call.run.now)
      call.run.network.isOpen = { _, _ in false }
      let isFailed = call.run.run(atMost: .seconds(60)) { $0.offerer.connectionState == .failed }
      #expect(isFailed)
      call.run.run(atMost: .seconds(30)) { $0.answerer.connectionState == .failed }
      let (turns, sent) = (call.run.turnCount, call.run.network.sentCount)
      call.run.run(atMost: .seconds(600))
      #expect(call.run.turnCount - turns < 10, "\(call.run.turnCount - turns)")
      #expect(call.run.network.sentCount == sent)
      #expect(throws: Never.self) {
        try call.caller.core.send(DataCall.message(1, byteCount: 10), on: id, at: call.run.now)
      }
      call.caller.core.close(at: call.run.now)
      call.run.run(atMost: .seconds(1))
      #expect(call.caller.closedChannels == [id])
      #expect(call.caller.sctpEnds == [.aborted(.userInitiated)])
    }
  }
#endif
