// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import SCTP
import SansIO

/// Data channels whose peer is the fuzzer: it opens, acknowledges, sends and resets on any stream as it likes.
///
/// Whatever it says, there are never more channels, and never more bytes of their names, than the limits; and each
/// channel is told in an order that makes sense: it appears, messages come, it is closed.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  var world = World(options: input.byte())
  var steps = 0
  while !input.isAtEnd, steps < 400 {
    world.step(&input)
    steps += 1
  }
  return 0
}

private struct World: ~Copyable {
  private static let channelCountMax = 12
  private static let nameByteCountMax = 512
  var channels: DataChannels
  var peer: SCTPAssociation
  var now = Instant.zero
  /// Channels of ours that are not closed, and those of the peer with the bytes of their names.
  var own: Set<DataChannelID> = []
  var incoming: [DataChannelID: Int] = [:]

  init(options: UInt8) {
    var configuration = DataChannels.Configuration()
    configuration.channelCountMax = Self.channelCountMax
    configuration.nameByteCountMax = Self.nameByteCountMax
    configuration.association.streamCount = options & 2 == 0 ? 16 : 256
    configuration.association.offersInterleaving = options & 4 == 0
    configuration.remoteMessageByteCountMax = options & 8 == 0 ? 1000 : 0
    var peerConfiguration = configuration.association
    peerConfiguration.streamCount = options & 16 == 0 ? 256 : 8
    channels = DataChannels(configuration: configuration, random: RandomSource(seed: 1))
    peer = SCTPAssociation(configuration: peerConfiguration, random: RandomSource(seed: 2))
    channels.connect(isDTLSClient: options & 1 == 0, at: now)
    peer.connect(at: now)
    for _ in 0..<4 { exchange() }
  }

  mutating func step(_ input: inout FuzzInput) {
    switch input.choice(of: 10) {
    case 0, 1, 2: send(DCEP.open(&input), protocol: 50, &input)
    case 3: send(input.take(Int(input.byte())), protocol: 50, &input)
    case 4: send([2], protocol: 50, &input)
    case 5: send(input.take(Int(input.byte())), protocol: 48 + UInt32(input.choice(of: 12)), &input)
    case 6: peer.resetStreams([StreamID(rawValue: UInt16(input.byte()))])
    case 7: open(&input)
    case 8: use(&input)
    default:
      exchange()
      return
    }
    if input.byte() & 1 == 0 { exchange() }
  }

  private mutating func send(_ bytes: [UInt8], protocol number: UInt32, _ input: inout FuzzInput) {
    let stream = StreamID(rawValue: UInt16(input.byte()))
    let options = DeliveryOptions(isUnordered: input.byte() & 1 == 1)
    try? peer.send(
      bytes, on: stream, payloadProtocol: PayloadProtocol(rawValue: number), options: options, at: now)
  }

  private mutating func open(_ input: inout FuzzInput) {
    let negotiated = input.byte()
    let parameters = DataChannelParameters(
      label: String(decoding: input.take(4), as: UTF8.self), isOrdered: negotiated & 1 == 0,
      negotiatedStream: negotiated < 128 ? nil : StreamID(rawValue: UInt16(negotiated & 15)))
    if let id = try? channels.open(parameters, at: now) { own.insert(id) }
  }

  /// Sends on a channel, or closes it.
  private mutating func use(_ input: inout FuzzInput) {
    let all = (Array(own) + Array(incoming.keys)).sorted { $0.rawValue < $1.rawValue }
    guard !all.isEmpty else { return }
    let id = all[input.choice(of: all.count)]
    if input.byte() & 1 == 0 { return channels.close(id) }
    try? channels.send(DataChannelMessage([UInt8](repeating: 1, count: Int(input.short()))), on: id, at: now)
  }

  /// Lets packets pass both ways until both are quiet, and takes what happened.
  private mutating func exchange() {
    now += .milliseconds(60)
    channels.handleTimeout(at: now)
    peer.handleTimeout(at: now)
    for _ in 0..<32 {
      takeEvents()
      while let event = peer.pollEvent() {
        if case .message(let message) = event { peer.consumed(byteCount: message.bytes.count + 96) }
      }
      let toPeer = Self.packets { channels.pollTransmit(into: &$0, at: now) }
      let toUs = Self.packets { peer.pollTransmit(into: &$0, at: now) }
      if toPeer.isEmpty, toUs.isEmpty { return }
      for packet in toPeer { peer.receive(packet.rawSpan, at: now) }
      for packet in toUs { channels.receive(packet.rawSpan, at: now) }
    }
  }

  private static func packets(_ poll: (inout OutputRawSpan) -> PacketBatch?) -> [[UInt8]] {
    var batch: PacketBatch?
    let bytes = [UInt8](writing: 64 * 1160) { batch = poll(&$0) }
    guard let size = batch?.packetByteCount else { return [] }
    return stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
  }

  private mutating func takeEvents() {
    while let event = channels.pollEvent(at: now) {
      switch event {
      case .incoming(let id, let parameters):
        precondition(!own.contains(id) && incoming[id] == nil, "a channel appears twice")
        incoming[id] = parameters.label.utf8.count + parameters.subprotocol.utf8.count
      case .closed(let id):
        let isKnown = own.remove(id) != nil || incoming.removeValue(forKey: id) != nil
        precondition(isKnown, "a channel that is not there is closed")
      case .opened(let id): precondition(own.contains(id), "a channel that we did not make is open")
      case .message(let id, let message):
        precondition(own.contains(id) || incoming[id] != nil, "a message of a channel that is not there")
        channels.messageConsumed(message.bytes.count)
      case .closing(let id), .bufferedAmountLow(let id):
        precondition(own.contains(id) || incoming[id] != nil, "news of a channel that is not there")
      case .connected, .ended: break
      }
    }
    precondition(channels.channelCount <= Self.channelCountMax, "too many channels")
    let nameByteCount = incoming.values.reduce(0, +)
    precondition(nameByteCount <= Self.nameByteCountMax, "names beyond their limit")
  }
}

/// DCEP messages (RFC 8832 §5.1).
private enum DCEP {
  /// An OPEN whose fields are the fuzzer's, and whose lengths are right or lie.
  static func open(_ input: inout FuzzInput) -> [UInt8] {
    let kind = input.take(8)
    let label = input.take(input.choice(of: 100))
    let subprotocol = input.take(input.choice(of: 20))
    let lie = input.byte()
    let labelByteCount = UInt16(label.count) &+ (lie < 240 ? 0 : UInt16(lie) &- 248)
    let header = [3] + kind.prefix(7) + [UInt8](repeating: 0, count: max(0, 7 - kind.count))
    let lengths: [UInt8] = [
      UInt8(labelByteCount >> 8), UInt8(truncatingIfNeeded: labelByteCount), 0, UInt8(subprotocol.count),
    ]
    return header + lengths + label + subprotocol
  }
}
