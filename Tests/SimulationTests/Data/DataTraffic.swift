// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import SansIO
  import WebRTCCore
  import WebRTCTesting

  /// A direction of a channel: what was sent, and what its kind promises of that.
  struct DataFlow {
    let parameters: DataChannelParameters
    let sent: [[UInt8]]
    /// What arrived, in order.
    var received: [[UInt8]] = []

    /// What is wrong with what arrived; `nil` if the promise was kept.
    var fault: String? {
      let numbers = received.map(DataCall.number)
      guard received.allSatisfy(DataCall.isWhole) else { return "damaged" }
      guard Set(numbers).count == numbers.count else { return "twice" }
      guard Set(received).isSubset(of: Set(sent)) else { return "never sent" }
      if parameters.isOrdered, numbers != numbers.sorted() { return "out of order" }
      if parameters.reliability == .reliable, received.count != sent.count {
        return "\(received.count) of \(sent.count)"
      }
      return nil
    }
  }

  /// Channels of all kinds between two peers, with messages both ways in random sizes.
  struct DataTraffic {
    static let kinds: [DataChannelParameters] = [true, false].flatMap { isOrdered in
      [.reliable, .retransmissions(0), .retransmissions(3), .lifetime(milliseconds: 300)].map {
        DataChannelParameters(label: "\($0) \(isOrdered)", isOrdered: isOrdered, reliability: $0)
      }
    }

    let call: DataCall
    let kinds: [DataChannelParameters]
    private let ids: [DataChannelID]
    private var sent: [DataChannelID: (forward: [[UInt8]], back: [[UInt8]])] = [:]

    /// Makes channels of the caller's, which open when the call connects.
    init(_ call: DataCall, kinds: [DataChannelParameters]) throws {
      self.call = call
      self.kinds = kinds
      ids = try kinds.map { try call.caller.core.createDataChannel($0, at: call.run.now) }
    }

    /// The other side's name of a channel: it opens them in the order of the streams, which is that of the caller's.
    private func other(_ index: Int) -> DataChannelID? {
      let stream = call.caller.core.dataChannelStream(of: ids[index])
      return call.callee.openChannels.first { call.callee.core.dataChannelStream(of: $0) == stream }
    }

    /// Hands in so many messages on every channel, both ways.
    mutating func send(_ count: Int, byteCountMax: Int, random: inout RandomSource) throws {
      for index in ids.indices {
        guard let other = other(index) else { continue }
        let first = sent[ids[index]]?.forward.count ?? 0
        for number in first..<(first + count) {
          let mine = DataCall.bytes(number, byteCount: Int.random(in: 4...byteCountMax, using: &random))
          let its = DataCall.bytes(number, byteCount: Int.random(in: 4...byteCountMax, using: &random))
          try call.caller.core.send(DataChannelMessage(mine), on: ids[index], at: call.run.now)
          try call.callee.core.send(DataChannelMessage(its), on: other, at: call.run.now)
          sent[ids[index], default: ([], [])].forward.append(mine)
          sent[ids[index], default: ([], [])].back.append(its)
        }
      }
    }

    /// Both directions of every channel.
    var flows: [DataFlow] {
      ids.indices.flatMap { index -> [DataFlow] in
        guard let other = other(index), let sent = sent[ids[index]] else { return [] }
        return [
          DataFlow(
            parameters: kinds[index], sent: sent.forward, received: call.callee.messages(on: other)),
          DataFlow(
            parameters: kinds[index], sent: sent.back, received: call.caller.messages(on: ids[index])),
        ]
      }
    }

    /// Runs until everything was sent and acknowledged.
    @discardableResult
    func settle(within limit: TimeDelta) -> Bool {
      call.run.run(atMost: limit) { run in run.isDataSettled }
    }
  }

  extension Simulation {
    /// Whether nothing of data channels waits or is on its way.
    var isDataSettled: Bool {
      [offerer, answerer].allSatisfy { peer in
        let report = peer.core.statistics(at: now)
        return report.sctpTransport?.unackData == 0
          && peer.openChannels.allSatisfy { peer.core.bufferedAmount(of: $0) == 0 }
      }
    }
  }
#endif
