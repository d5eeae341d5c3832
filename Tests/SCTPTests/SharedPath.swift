// SPDX-License-Identifier: Apache-2.0

import SCTP
import SansIO

/// A way through the network: the sender's side has a bottleneck with a queue that drops what does not fit.
struct Path: Sendable {
  /// Each way.
  var delay = TimeDelta.milliseconds(20)
  /// What the bottleneck carries.
  var bytesPerSecond: Int64 = 12_500_000
  /// What may wait before the bottleneck; one product of rate and round-trip time is a common choice.
  var queueByteCount = 500_000
  /// Random loss each way.
  var lossPerMille: UInt64 = 0
  var seed: UInt64 = 1
}

/// Associations that send as much as they may over one path, in virtual time.
struct SharedPath {
  /// One sender with its receiver, and what arrived.
  final class Flow {
    var sender: SCTPAssociation
    var receiver: SCTPAssociation
    var byteCount = 0
    var longestGap = TimeDelta.zero
    var latest = Instant.zero
    var start: Instant

    init(_ configuration: SCTPAssociation.Configuration, start: Instant, random: inout RandomSource) {
      sender = SCTPAssociation(configuration: configuration, random: random.split())
      receiver = SCTPAssociation(configuration: configuration, random: random.split())
      self.start = start
    }
  }

  private struct Flight {
    var arrival: Instant
    var flow: Int
    var bytes: [UInt8]
  }

  let path: Path
  private(set) var flows: [Flow] = []
  private(set) var now = Instant.zero
  private var random: RandomSource
  // Both ways keep the order, so the next arrival is at the front.
  private var toReceivers = Lane()
  private var toSenders = Lane()
  private var busyUntil = Instant.zero
  private let message = [UInt8](repeating: 1, count: 65_536)

  private struct Lane {
    private var flights: [Flight] = []
    private var head = 0
    var first: Flight? { head < flights.count ? flights[head] : nil }
    mutating func append(_ flight: Flight) { flights.append(flight) }
    mutating func removeFirst() {
      head += 1
      guard head > 4096, head * 2 > flights.count else { return }
      flights.removeFirst(head)
      head = 0
    }
  }

  init(_ path: Path) {
    self.path = path
    random = RandomSource(seed: path.seed)
  }

  /// Adds a flow that begins at some time.
  mutating func add(
    _ algorithm: SCTPAssociation.Configuration.CongestionAlgorithm, startingAt start: TimeDelta = .zero
  ) {
    var configuration = SCTPAssociation.Configuration()
    configuration.congestionAlgorithm = algorithm
    flows.append(Flow(configuration, start: Instant.zero + start, random: &random))
  }

  /// Runs for some time; bytes and gaps count from here on.
  mutating func run(for time: TimeDelta) {
    let end = now + time
    for flow in flows { (flow.byteCount, flow.longestGap, flow.latest) = (0, .zero, now) }
    for index in flows.indices { serve(index) }
    while let next = nextInstant, next <= end {
      now = max(now, next)
      var touched: Set<Int> = []
      while let flight = toReceivers.first, flight.arrival <= now {
        toReceivers.removeFirst()
        flows[flight.flow].receiver.receive(flight.bytes.rawSpan, at: now)
        touched.insert(flight.flow)
      }
      while let flight = toSenders.first, flight.arrival <= now {
        toSenders.removeFirst()
        flows[flight.flow].sender.receive(flight.bytes.rawSpan, at: now)
        touched.insert(flight.flow)
      }
      for index in flows.indices where touched.contains(index) || isDue(index) { serve(index) }
    }
    now = end
    for flow in flows { flow.longestGap = max(flow.longestGap, now - flow.latest) }
  }

  private func deadline(of flow: Flow) -> Instant? {
    flow.sender.state == .closed
      ? flow.start : Instant.earliest(flow.sender.nextDeadline, flow.receiver.nextDeadline)
  }

  private func isDue(_ index: Int) -> Bool { deadline(of: flows[index]).map { $0 <= now } ?? false }

  private var nextInstant: Instant? {
    var next = Instant.earliest(toReceivers.first?.arrival, toSenders.first?.arrival)
    for flow in flows { next = Instant.earliest(next, deadline(of: flow)) }
    return next
  }

  private mutating func serve(_ index: Int) {
    let flow = flows[index]
    if flow.sender.state == .closed, flow.start <= now { flow.sender.connect(at: now) }
    flow.sender.handleTimeout(at: now)
    flow.receiver.handleTimeout(at: now)
    if flow.sender.state == .established {
      while flow.sender.bufferedAmount < 1 << 20,
        (try? flow.sender.send(message, on: 1, payloadProtocol: .init(rawValue: 53), at: now)) != nil
      {}
    }
    while flow.sender.pollEvent() != nil {}
    while let event = flow.receiver.pollEvent() {
      guard case .message(let message) = event else { continue }
      flow.receiver.consumed(byteCount: message.bytes.count + 96)
      flow.byteCount += message.bytes.count
      flow.longestGap = max(flow.longestGap, now - flow.latest)
      flow.latest = now
    }
    let now = now
    transmit(index, isToReceiver: true) { flow.sender.pollTransmit(into: &$0, at: now) }
    transmit(index, isToReceiver: false) { flow.receiver.pollTransmit(into: &$0, at: now) }
  }

  private mutating func transmit(
    _ index: Int, isToReceiver: Bool, _ poll: (inout OutputRawSpan) -> PacketBatch?
  ) {
    while true {
      var batch: PacketBatch?
      let bytes = [UInt8](writing: 65_536) { batch = poll(&$0) }
      guard let batch else { return }
      for start in stride(from: 0, to: bytes.count, by: batch.packetByteCount) {
        let packet = Array(bytes[start..<min(start + batch.packetByteCount, bytes.count)])
        launch(packet, index, isToReceiver: isToReceiver)
      }
    }
  }

  private mutating func launch(_ packet: [UInt8], _ index: Int, isToReceiver: Bool) {
    guard random.next() % 1000 >= path.lossPerMille else { return }
    guard isToReceiver else {
      return toSenders.append(Flight(arrival: now + path.delay, flow: index, bytes: packet))
    }
    busyUntil = max(busyUntil, now)
    let waiting = (busyUntil - now).inSeconds * Double(path.bytesPerSecond)
    guard Int(waiting) + packet.count <= path.queueByteCount else { return }
    busyUntil += .transmission(of: packet.count, bytesPerSecond: path.bytesPerSecond)
    toReceivers.append(Flight(arrival: busyUntil + path.delay, flow: index, bytes: packet))
  }
}

extension TimeDelta {
  /// How long a link of so many bytes per second needs for a packet.
  static func transmission(of byteCount: Int, bytesPerSecond: Int64) -> TimeDelta {
    TimeDelta(nanoseconds: Int64(byteCount) * 1_000_000_000 / bytesPerSecond)
  }
}
