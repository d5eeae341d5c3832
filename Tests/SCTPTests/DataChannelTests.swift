// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Two sets of channels over a link with a delay, and with whatever else is asked for, in virtual time.
struct ChannelPair: ~Copyable {
  struct Side: ~Copyable {
    var channels: DataChannels
    var opened: [DataChannelID] = []
    var incoming: [(id: DataChannelID, parameters: DataChannelParameters)] = []
    var messages: [(id: DataChannelID, message: DataChannelMessage)] = []
    var closing: [DataChannelID] = []
    var closed: [DataChannelID] = []
    var lowCount = 0
    var ended: SCTPAssociation.Closure?

    init(_ channels: consuming DataChannels) { self.channels = channels }

    mutating func takeEvents(at now: Instant) {
      while let event = channels.pollEvent(at: now) {
        switch event {
        case .connected: break
        case .opened(let id): opened.append(id)
        case .incoming(let id, let parameters): incoming.append((id, parameters))
        case .message(let id, let message):
          messages.append((id, message))
          channels.messageConsumed(message.bytes.count)
        case .closing(let id): closing.append(id)
        case .closed(let id): closed.append(id)
        case .bufferedAmountLow: lowCount += 1
        case .ended(let reason): ended = reason
        }
      }
    }

    mutating func takePackets(at now: Instant) -> [[UInt8]] {
      var packets: [[UInt8]] = []
      while true {
        var batch: PacketBatch?
        let bytes = [UInt8](writing: 65_536) { batch = channels.pollTransmit(into: &$0, at: now) }
        guard let batch else { return packets }
        for start in stride(from: 0, to: bytes.count, by: batch.packetByteCount) {
          packets.append(Array(bytes[start..<min(start + batch.packetByteCount, bytes.count)]))
        }
      }
    }
  }

  var now = Instant.zero
  var client: Side
  var server: Side
  var lossPerMille: Int
  var duplicationPerMille = 0
  var jitter = TimeDelta.zero
  private var random: RandomSource
  private var flights: [(arrival: Instant, isToServer: Bool, bytes: [UInt8])] = []

  init(
    seed: UInt64 = 1, lossPerMille: Int = 0, client: DataChannels.Configuration = .init(),
    server: DataChannels.Configuration = .init()
  ) {
    random = RandomSource(seed: seed)
    self.lossPerMille = lossPerMille
    self.client = Side(DataChannels(configuration: client, random: random.split()))
    self.server = Side(DataChannels(configuration: server, random: random.split()))
  }

  mutating func connect() {
    client.channels.connect(isDTLSClient: true, at: now)
    server.channels.connect(isDTLSClient: false, at: now)
  }

  mutating func drain() {
    client.takeEvents(at: now)
    server.takeEvents(at: now)
    for (packets, isToServer) in [(client.takePackets(at: now), true), (server.takePackets(at: now), false)] {
      for packet in packets where Int(random.next() % 1000) >= lossPerMille {
        launch(packet, isToServer: isToServer)
        if Int(random.next() % 1000) < duplicationPerMille { launch(packet, isToServer: isToServer) }
      }
    }
  }

  private mutating func launch(_ packet: [UInt8], isToServer: Bool) {
    let extra = jitter == .zero ? 0 : Int64(random.next() % UInt64(jitter.nanoseconds))
    let arrival = now + .milliseconds(10) + TimeDelta(nanoseconds: extra)
    let place = flights.lastIndex { $0.arrival <= arrival }.map { $0 + 1 } ?? 0
    flights.insert((arrival, isToServer, packet), at: place)
  }

  mutating func run(seconds: Int64) { run(until: now + .seconds(seconds)) }

  mutating func run(until limit: Instant) {
    drain()
    while true {
      let timers = Instant.earliest(client.channels.nextDeadline, server.channels.nextDeadline)
      guard let next = Instant.earliest(timers, flights.first?.arrival), next <= limit else { break }
      now = max(now, next)
      while let flight = flights.first, flight.arrival <= now {
        flights.removeFirst()
        if flight.isToServer {
          server.channels.receive(flight.bytes.rawSpan, at: now)
        } else {
          client.channels.receive(flight.bytes.rawSpan, at: now)
        }
      }
      client.channels.handleTimeout(at: now)
      server.channels.handleTimeout(at: now)
      drain()
    }
    now = limit
  }
}

/// Goal: channels open, carry, close and come again as RFC 8831, RFC 8832 and W3C say, and within our limits.
@Suite("Data channels, RFC 8831 and RFC 8832")
struct DataChannelTests {
  static let kinds: [DataChannelParameters] = [true, false].flatMap { isOrdered in
    [.reliable, .retransmissions(3), .lifetime(milliseconds: 500)].map {
      DataChannelParameters(label: "a", subprotocol: "p", isOrdered: isOrdered, reliability: $0)
    }
  }

  @Test("OPEN is written as RFC 8832 §5.1 draws it, for each kind of channel")
  func openBytes() throws {
    let types: [UInt8] = [0, 1, 2, 0x80, 0x81, 0x82]
    let values: [UInt8] = [0, 3, 0xf4, 0, 3, 0xf4]
    for (index, parameters) in Self.kinds.enumerated() {
      let bytes = DCEPMessage.open(parameters).array()
      let high: UInt8 = values[index] == 0xf4 ? 1 : 0
      #expect(
        bytes == [3, types[index], 1, 0, 0, 0, high, values[index], 0, 1, 0, 1, 0x61, 0x70])
      var reader = ByteReader(bytes.rawSpan)
      let read = try DCEPMessage(parsing: &reader)
      #expect(read == .open(parameters))
      for length in bytes.indices {
        let prefix = Array(bytes.prefix(length))
        var reader = ByteReader(prefix.rawSpan)
        let short = try? DCEPMessage(parsing: &reader)
        #expect(short == nil)
      }
    }
  }

  @Test("Both sides open channels at once, on streams of their own parity, and both know what they promise")
  func opening() throws {
    var pair = ChannelPair()
    for kind in Self.kinds {
      _ = try pair.client.channels.open(kind, at: pair.now)
      _ = try pair.server.channels.open(kind, at: pair.now)
    }
    pair.connect()
    pair.run(seconds: 2)
    let (atClient, atServer) = (
      pair.client.incoming.map(\.parameters), pair.server.incoming.map(\.parameters)
    )
    #expect(atClient == Self.kinds && atServer == Self.kinds)
    let ours = pair.client.opened.map { pair.client.channels.stream(of: $0)?.rawValue ?? 99 }
    let theirs = pair.client.incoming.map { pair.client.channels.stream(of: $0.id)?.rawValue ?? 99 }
    #expect(ours == [0, 2, 4, 6, 8, 10])
    #expect(theirs == [1, 3, 5, 7, 9, 11])
  }

  @Test("Text, bytes and empty messages of each arrive as what they are", arguments: 0..<6)
  func messages(kind: Int) throws {
    var pair = ChannelPair()
    let id = try pair.client.channels.open(Self.kinds[kind], at: pair.now)
    pair.connect()
    pair.run(seconds: 1)
    let messages = [
      DataChannelMessage(text: "grüß"), DataChannelMessage([1, 2, 3]), DataChannelMessage(text: ""),
      DataChannelMessage([]), DataChannelMessage([UInt8](repeating: 9, count: 65_536)),
    ]
    for message in messages { try pair.client.channels.send(message, on: id, at: pair.now) }
    pair.run(seconds: 3)
    let arrived = pair.server.messages.map(\.message)
    #expect(Set(arrived) == Set(messages) && arrived.count == messages.count)
    if Self.kinds[kind].isOrdered { #expect(arrived == messages) }
    let peer = try #require(pair.server.incoming.first?.id)
    for message in messages { try pair.server.channels.send(message, on: peer, at: pair.now) }
    pair.run(seconds: 3)
    let answers = pair.client.messages.map(\.message)
    #expect(Set(answers) == Set(messages) && answers.count == messages.count)
    let statistics = pair.client.channels.statistics(of: id)
    #expect(statistics?.messagesSent == 5 && statistics?.bytesReceived == 65_536 + 3 + 6)
  }

  @Test(
    "A message sent right after opening does not overtake the OPEN, ordered or not", arguments: UInt64(1)...20
  )
  func earlyMessages(seed: UInt64) throws {
    var pair = ChannelPair(seed: seed, lossPerMille: 200)
    pair.connect()
    pair.run(seconds: 10)
    let id = try pair.client.channels.open(
      DataChannelParameters(label: "fast", isOrdered: false), at: pair.now)
    for index in 0..<20 {
      try pair.client.channels.send(DataChannelMessage([UInt8(index)]), on: id, at: pair.now)
    }
    pair.run(seconds: 60)
    let arrived = pair.server.messages.map { Int($0.message.bytes[0]) }.sorted()
    #expect(arrived == Array(0..<20), "seed \(seed)")
    let drops = pair.server.channels.drops.total
    #expect(drops == 0, "seed \(seed)")
  }

  @Test("Negotiated channels need no word")
  func negotiated() throws {
    var pair = ChannelPair()
    let parameters = DataChannelParameters(label: "n", negotiatedStream: 7)
    let id = try pair.client.channels.open(parameters, at: pair.now)
    _ = try pair.server.channels.open(parameters, at: pair.now)
    #expect(throws: DataChannelError.streamUnavailable) {
      _ = try pair.client.channels.open(parameters, at: .zero)
    }
    pair.connect()
    pair.run(seconds: 1)
    try pair.client.channels.send(DataChannelMessage(text: "x"), on: id, at: pair.now)
    pair.run(seconds: 1)
    let (arrived, incoming) = (pair.server.messages.map(\.message), pair.server.incoming.count)
    #expect(arrived == [DataChannelMessage(text: "x")] && incoming == 0)
  }

  @Test(
    "A peer that never resets its side: the channel is over all the same, its stream is not free until then")
  func halfClosed() throws {
    var pair = ChannelPair()
    pair.connect()
    pair.run(seconds: 1)
    let id = try pair.client.channels.open(DataChannelParameters(label: "a"), at: pair.now)
    pair.run(seconds: 1)
    pair.server.channels.association.capabilities.remove(.reconfiguration)
    pair.client.channels.close(id)
    pair.run(seconds: 29)
    let (before, reset) = (pair.client.channels.state(of: id), pair.server.closing.count)
    #expect(before == .closing && reset == 1)
    pair.run(seconds: 2)
    let (after, closed) = (pair.client.channels.state(of: id), pair.client.closed)
    #expect(after == .closed && closed == [id])
    let other = try pair.client.channels.open(DataChannelParameters(label: "b"), at: pair.now)
    let otherStream = pair.client.channels.stream(of: other)
    #expect(otherStream == 2)
    pair.server.channels.association.capabilities.insert(.reconfiguration)
    pair.run(seconds: 2)
    let third = try pair.client.channels.open(DataChannelParameters(label: "c"), at: pair.now)
    pair.run(seconds: 2)
    let (thirdStream, labels, drops) = (
      pair.client.channels.stream(of: third), pair.server.incoming.map(\.parameters.label),
      pair.server.channels.drops.total
    )
    #expect(thirdStream == 0 && labels == ["a", "b", "c"] && drops == 0)
    let deadline = pair.client.channels.awaitedResets.first
    #expect(deadline == nil)
  }

  @Test("Closing delivers what waits, is seen by both, and frees the stream", arguments: UInt64(1)...20)
  func closing(seed: UInt64) throws {
    var pair = ChannelPair(seed: seed, lossPerMille: seed == 1 ? 0 : 100)
    pair.connect()
    pair.run(seconds: 20)
    for round in 0..<10 {
      let id = try pair.client.channels.open(DataChannelParameters(label: "\(round)"), at: pair.now)
      for _ in 0..<5 {
        try pair.client.channels.send(
          DataChannelMessage([UInt8](repeating: 1, count: 5000)), on: id, at: pair.now)
      }
      let stream = pair.client.channels.stream(of: id)
      #expect(stream == 0, "seed \(seed), round \(round)")
      pair.client.channels.close(id)
      let state = pair.client.channels.state(of: id)
      #expect(state == .closing)
      pair.run(seconds: 60)
      let (arrived, left, right) = (
        pair.server.messages.count, pair.client.closed.count, pair.server.closed.count
      )
      #expect(arrived == 5 * (round + 1), "seed \(seed), round \(round)")
      #expect(left == round + 1 && right == round + 1, "seed \(seed), round \(round)")
    }
    let (open, closing) = (pair.server.channels.channelCount, pair.server.closing.count)
    #expect(open == 0 && closing == 10, "seed \(seed)")
  }

  @Test("A thousand channels opened and closed in turn leave nothing behind")
  func thousand() throws {
    var pair = ChannelPair()
    pair.connect()
    pair.run(seconds: 1)
    for round in 0..<1000 {
      let id = try pair.server.channels.open(DataChannelParameters(label: "\(round)"), at: pair.now)
      try pair.server.channels.send(DataChannelMessage(text: "hello"), on: id, at: pair.now)
      pair.server.channels.close(id)
      pair.run(seconds: 1)
    }
    let (messages, left, right) = (
      pair.client.messages.count, pair.client.channels.channelCount, pair.server.channels.channelCount
    )
    #expect(messages == 1000 && left == 0 && right == 0)
    let (opened, closed) = (pair.server.channels.openedCount, pair.server.channels.closedCount)
    #expect(opened == 1000 && closed == 1000)
  }

  @Test("Back-pressure: a full buffer refuses, and an emptied one says so")
  func backPressure() throws {
    var configuration = DataChannels.Configuration()
    configuration.association.sendBufferByteCountMax = 200_000
    var pair = ChannelPair(client: configuration)
    pair.connect()
    pair.run(seconds: 1)
    let id = try pair.client.channels.open(DataChannelParameters(label: "b"), at: pair.now)
    pair.client.channels.setBufferedAmountLowThreshold(1000, of: id)
    let message = DataChannelMessage([UInt8](repeating: 1, count: 60_000))
    for _ in 0..<3 { try pair.client.channels.send(message, on: id, at: pair.now) }
    #expect(throws: DataChannelError.bufferFull) {
      try pair.client.channels.send(message, on: id, at: .zero)
    }
    let buffered = pair.client.channels.bufferedAmount(of: id)
    #expect(buffered >= 180_000)
    pair.run(seconds: 5)
    let (low, after) = (pair.client.lowCount, pair.client.channels.bufferedAmount(of: id))
    #expect(low == 1 && after == 0)
  }

  @Test("T25: the peer's OPENs are held to parity, count and length; the rest are refused by a reset")
  func openFlood() throws {
    var limited = DataChannels.Configuration()
    limited.channelCountMax = 10
    limited.nameByteCountMax = 70_000
    var pair = ChannelPair(server: limited)
    pair.connect()
    pair.run(seconds: 1)
    var channels: [DataChannelID] = []
    for index in 0..<50 {
      channels.append(try pair.client.channels.open(DataChannelParameters(label: "\(index)"), at: pair.now))
    }
    pair.run(seconds: 5)
    let (accepted, refused, open) = (
      pair.server.incoming.count, pair.server.channels.drops[.tooManyChannels],
      pair.client.channels.channelCount
    )
    #expect(accepted == 10 && refused == 40 && open == 10)
    // The wrong parity, and a label that lies about its length.
    pair.client.channels.association.sendControl(
      DCEPMessage.open(DataChannelParameters(label: "x")).array(), on: 101,
      payloadProtocol: DataChannels.Payload.control, at: pair.now)
    pair.client.channels.association.sendControl(
      [3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0x61], on: 102,
      payloadProtocol: DataChannels.Payload.control, at: pair.now)
    pair.client.channels.close(channels[0])
    pair.run(seconds: 5)
    _ = try pair.client.channels.open(
      DataChannelParameters(label: String(repeating: "l", count: 65_535)), at: pair.now)
    pair.run(seconds: 5)
    let drops = (
      pair.server.channels.drops[.wrongStream], pair.server.channels.drops[.malformed],
      pair.server.channels.channelCount
    )
    #expect(drops.0 == 1 && drops.1 == 1 && drops.2 == 10)
    #expect(throws: DataChannelError.nameTooLong) {
      _ = try pair.client.channels.open(
        DataChannelParameters(label: String(repeating: "l", count: 65_536)), at: .zero)
    }
  }

  @Test("T26: the peer's longest message is respected, 0 means any; a longer one than ours ends it all")
  func messageSizes() throws {
    var small = DataChannels.Configuration()
    small.association.messageByteCountMax = 10_000
    var pair = ChannelPair(server: small)
    pair.connect()
    pair.run(seconds: 1)
    let id = try pair.client.channels.open(DataChannelParameters(label: "m"), at: pair.now)
    let long = DataChannelMessage([UInt8](repeating: 1, count: 65_537))
    #expect(throws: DataChannelError.messageTooLong(limit: 65_536)) {
      try pair.client.channels.send(long, on: id, at: .zero)
    }
    pair.client.channels.remoteMessageByteCountMax = 0
    try pair.client.channels.send(long, on: id, at: pair.now)
    pair.run(seconds: 5)
    let ended = (pair.client.ended, pair.server.ended)
    #expect(ended.0 == .abortedByPeer(.outOfResource))
    #expect(ended.1 == .aborted(.outOfResource))
    let closed = (pair.client.closed.count, pair.client.channels.channelCount)
    #expect(closed.0 == 1 && closed.1 == 0)
  }

  @Test("Messages for channels that do not exist are dropped and counted")
  func unknownChannel() throws {
    var pair = ChannelPair()
    pair.connect()
    pair.run(seconds: 1)
    try pair.client.channels.association.send(
      [1], on: 30, payloadProtocol: DataChannels.Payload.binary, at: pair.now)
    pair.run(seconds: 1)
    let drops = pair.server.channels.drops[.unknownChannel]
    #expect(drops == 1)
  }
}
