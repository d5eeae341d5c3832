// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import SansIO
  import WebRTCCore
  import WebRTCTesting

  /// Two peers with data channels, and what they say about themselves: each message tells its number and length, and the
  /// rest of its bytes follow from these.
  struct DataCall {
    let run: Simulation
    var caller: SimulatedPeer { run.offerer }
    var callee: SimulatedPeer { run.answerer }

    init(_ run: Simulation) { self.run = run }

    init(
      seed: UInt64, conditions: LinkConditions = LinkConditions(),
      configureCaller: (inout PeerConnectionCore.Configuration) -> Void = { _ in },
      configureCallee: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
    ) throws {
      run = try Simulation(
        seed: seed, conditions: conditions, configureOfferer: configureCaller,
        configureAnswerer: configureCallee)
    }

    /// Negotiates and runs until both sides have as many open channels.
    func connect(channels count: Int = 1, within limit: TimeDelta = .seconds(30)) throws -> Bool {
      try run.negotiate()
      return run.run(atMost: limit) { run in
        run.isConnected && run.offerer.openChannels.count + run.answerer.openChannels.count == 2 * count
      }
    }

    /// Hands in messages until the queue of the sender is full for the first time; returns how many.
    static func message(_ number: Int, byteCount: Int) -> DataChannelMessage {
      DataChannelMessage(bytes(number, byteCount: byteCount))
    }

    static func bytes(_ number: Int, byteCount: Int) -> [UInt8] {
      var random = RandomSource(seed: UInt64(number) &* 7919 &+ UInt64(byteCount))
      var bytes = random.bytes(max(4, byteCount))
      for place in 0..<4 { bytes[place] = UInt8(truncatingIfNeeded: number >> (24 - 8 * place)) }
      return bytes
    }

    static func number(of bytes: [UInt8]) -> Int { bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } }

    static func isWhole(_ bytes: [UInt8]) -> Bool {
      bytes == Self.bytes(number(of: bytes), byteCount: bytes.count)
    }
  }

  extension SimulatedPeer {
    /// Channels that were told open, ours and the other side's, in this order of events.
    var openChannels: [DataChannelID] {
      events.compactMap { event in
        switch event {
        case .dataChannelOpened(let id): id
        case .dataChannelAdded(let id, _): id
        default: nil
        }
      }
    }

    /// Channels that were told closed.
    var closedChannels: [DataChannelID] {
      events.compactMap { if case .dataChannelClosed(let id) = $0 { id } else { nil } }
    }

    /// Why the association ended, if it did.
    var sctpEnds: [SCTPAssociation.Closure] {
      events.compactMap { if case .sctpEnded(let closure) = $0 { closure } else { nil } }
    }

    /// What came on a channel.
    func messages(on id: DataChannelID) -> [[UInt8]] {
      messages.filter { $0.channel == id }.map(\.message.bytes)
    }
  }
#endif
