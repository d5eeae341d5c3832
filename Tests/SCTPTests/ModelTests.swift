// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: whatever two applications do at once over whatever link, each channel keeps what it promised. Method:
/// both sides open, send and close at random while the link loses, repeats, reorders and goes away; each message
/// says to which channel it belongs and which it is, and a model of the channels judges what arrived.
@Suite("Random operations on data channels")
struct ModelTests {
  /// What a channel was asked to carry, and what became of it. Index 0 is the client, 1 the server.
  private struct Channel {
    var parameters: DataChannelParameters
    var ids: [DataChannelID?] = [nil, nil]
    /// Messages handed in on each side.
    var sent = [0, 0]
    /// Numbers of the messages that arrived at each side.
    var arrived: [[Int]] = [[], []]
    var isClosedBy = [false, false]
    var isGone = [false, false]
  }

  private struct Run: ~Copyable {
    let seed: UInt64
    var random: RandomSource
    var pair: ChannelPair
    var channels: [String: Channel] = [:]
    var labels: [[DataChannelID: String]] = [[:], [:]]

    init(seed: UInt64) {
      self.seed = seed
      random = RandomSource(seed: seed)
      var configuration = DataChannels.Configuration()
      configuration.association.offersInterleaving = seed % 3 != 0
      configuration.association.packetByteCountMax = seed % 5 == 0 ? 600 : 1160
      if seed % 7 == 0 { configuration.association.receiveWindowByteCountMax = 100_000 }
      if seed % 7 == 0 { configuration.association.messageByteCountMax = 70_000 }
      pair = ChannelPair(
        seed: seed, lossPerMille: Int(random.next() % 300), client: configuration, server: configuration)
      pair.duplicationPerMille = Int(random.next() % 100)
      pair.jitter = .milliseconds(Int64(random.next() % 60))
    }

    mutating func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    // MARK: What the applications do

    mutating func open(_ side: Int) {
      let label = "\(side)-\(channels.count)"
      let kind =
        [.reliable, .reliable, .retransmissions(UInt16(pick(3))), .lifetime(milliseconds: 300)][pick(4)]
        as DataChannelParameters.Reliability
      let parameters = DataChannelParameters(
        label: label, isOrdered: pick(3) > 0, reliability: kind,
        priority: [.veryLow, .low, .medium, .high][pick(4)])
      let now = pair.now
      let id =
        side == 0
        ? try? pair.client.channels.open(parameters, at: now)
        : try? pair.server.channels.open(parameters, at: now)
      guard let id else { return }
      channels[label] = Channel(parameters: parameters)
      channels[label]?.ids[side] = id
      labels[side][id] = label
    }

    private mutating func chosen(_ side: Int) -> (label: String, id: DataChannelID)? {
      let usable = channels.filter { $0.value.ids[side] != nil && !$0.value.isGone[side] }.keys.sorted()
      guard !usable.isEmpty else { return nil }
      let label = usable[pick(usable.count)]
      return channels[label]?.ids[side].map { (label, $0) }
    }

    mutating func send(_ side: Int) {
      guard let (label, id) = chosen(side), let number = channels[label]?.sent[side] else { return }
      let length = pick(5) == 0 ? pick(60_000) : pick(200)
      let text = "\(label):\(number):" + String(repeating: "x", count: length)
      let now = pair.now
      let isTaken: Void? =
        side == 0
        ? try? pair.client.channels.send(DataChannelMessage(text: text), on: id, at: now)
        : try? pair.server.channels.send(DataChannelMessage(text: text), on: id, at: now)
      if isTaken != nil { channels[label]?.sent[side] += 1 }
    }

    mutating func close(_ side: Int) {
      guard let (label, id) = chosen(side) else { return }
      channels[label]?.isClosedBy[side] = true
      if side == 0 { pair.client.channels.close(id) } else { pair.server.channels.close(id) }
    }

    // MARK: What they see

    mutating func observe() {
      observe(0, pair.client.incoming, pair.client.messages, pair.client.closed)
      observe(1, pair.server.incoming, pair.server.messages, pair.server.closed)
      (pair.client.incoming, pair.client.messages, pair.client.closed) = ([], [], [])
      (pair.server.incoming, pair.server.messages, pair.server.closed) = ([], [], [])
    }

    private mutating func observe(
      _ side: Int, _ incoming: [(id: DataChannelID, parameters: DataChannelParameters)],
      _ messages: [(id: DataChannelID, message: DataChannelMessage)], _ closed: [DataChannelID]
    ) {
      for (id, parameters) in incoming {
        #expect(channels[parameters.label]?.parameters == parameters, "seed \(seed)")
        channels[parameters.label]?.ids[side] = id
        labels[side][id] = parameters.label
      }
      for (id, message) in messages {
        let fields = String(decoding: message.bytes.prefix(30), as: UTF8.self).split(separator: ":")
        let label = labels[side][id]
        #expect(
          fields.count >= 2 && label == String(fields[0]), "seed \(seed): a message on the wrong channel")
        if let label, fields.count >= 2, let number = Int(fields[1]) {
          channels[label]?.arrived[side].append(number)
        }
      }
      for id in closed { if let label = labels[side][id] { channels[label]?.isGone[side] = true } }
    }

    // MARK: What was promised

    func judge() {
      for (label, channel) in channels {
        for side in 0..<2 {
          let (arrived, sent) = (channel.arrived[side], channel.sent[1 - side])
          let isClosed = channel.isClosedBy[side]
          #expect(Set(arrived).count == arrived.count, "seed \(seed), \(label): a message came twice")
          if channel.parameters.isOrdered {
            #expect(arrived == arrived.sorted(), "seed \(seed), \(label): out of order")
          }
          guard channel.parameters.reliability == .reliable else { continue }
          if !isClosed {
            #expect(arrived.count == sent, "seed \(seed), \(label): \(sent) sent, \(arrived.count) arrived")
          } else if channel.parameters.isOrdered {
            #expect(arrived == Array(0..<arrived.count), "seed \(seed), \(label): a hole")
          }
        }
      }
    }
  }

  private static func run(seed: UInt64) {
    var run = Run(seed: seed)
    run.pair.connect()
    let loss = run.pair.lossPerMille
    for _ in 0..<150 {
      let side = run.pick(2)
      switch run.pick(20) {
      case 0...2: run.open(side)
      case 3...15: run.send(side)
      case 16...17: run.close(side)
      case 18: run.pair.lossPerMille = run.pick(4) == 0 ? 1000 : loss
      default: run.pair.run(until: run.pair.now + .milliseconds(Int64(run.pick(3000))))
      }
      run.pair.run(until: run.pair.now + .milliseconds(Int64(run.pick(60))))
      run.observe()
    }
    run.pair.lossPerMille = loss / 2
    run.pair.run(seconds: 120)
    run.observe()
    run.judge()
    run.pair.lossPerMille = 0
    for id in run.pair.client.channels.channelIDs { run.pair.client.channels.close(id) }
    run.pair.run(seconds: 30)
    let (client, server) = (run.pair.client.channels.channelCount, run.pair.server.channels.channelCount)
    #expect(client == 0 && server == 0, "seed \(seed): \(client) and \(server) channels are left")
    let halfClosed = (
      run.pair.client.channels.halfClosedStreams.count, run.pair.server.channels.halfClosedStreams.count
    )
    #expect(halfClosed.0 == 0 && halfClosed.1 == 0, "seed \(seed): channels were closed by one side only")
    let held = (
      run.pair.client.channels.association.receiveBufferedByteCount,
      run.pair.server.channels.association.receiveBufferedByteCount
    )
    let inFlight = (
      run.pair.client.channels.association.currentStatistics.bytesInFlight,
      run.pair.server.channels.association.currentStatistics.bytesInFlight
    )
    #expect(held.0 == 0 && held.1 == 0 && inFlight.0 == 0 && inFlight.1 == 0, "seed \(seed)")
    let drops = (run.pair.client.channels.drops.total, run.pair.server.channels.drops.total)
    #expect(drops.0 == 0 && drops.1 == 0, "seed \(seed)")
    let ended = (run.pair.client.ended, run.pair.server.ended)
    #expect(ended.0 == nil && ended.1 == nil, "seed \(seed): \(String(describing: ended))")
  }

  @Test("Each channel keeps what it promised", arguments: UInt64(1)...100)
  func normal(seed: UInt64) { Self.run(seed: seed) }

  @Test(
    "The same for many seeds", .enabled(if: Seeds.count > 100, "set SCTP_SEEDS to a number above 100"))
  func long() { for seed in Seeds.first...max(Seeds.first, Seeds.count) { Self.run(seed: seed) } }
}
