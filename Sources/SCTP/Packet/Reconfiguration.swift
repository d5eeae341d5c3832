// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// One parameter of a RE-CONFIG chunk (RFC 6525 §4): a request, or the answer to one.
enum Reconfiguration: Hashable {
  /// How a request went (RFC 6525 §4.4).
  enum Outcome: UInt32 {
    case nothingToDo = 0
    case performed = 1
    case denied = 2
    case wrongSequence = 3
    case requestInProgress = 4
    case badSequenceNumber = 5
    case inProgress = 6
  }

  /// The sender begins its numbers anew on these streams once all before `lastTSN` arrived (§4.1).
  /// No streams means all.
  case outgoingReset(sequence: UInt32, answering: UInt32, lastTSN: UInt32, streams: [StreamID])
  /// The sender asks the receiver to reset what that one sends on these streams (§4.2).
  case incomingReset(sequence: UInt32, streams: [StreamID])
  /// Both directions at once (§4.3). Nobody in WebRTC sends it; we deny it.
  case associationReset(sequence: UInt32)
  /// More streams: outgoing (§4.5) or incoming ones (§4.6) of the sender's.
  case addStreams(sequence: UInt32, count: UInt16, isOutgoing: Bool)
  /// The answer to a request (§4.4). An outcome that we do not know is taken as denied.
  case response(sequence: UInt32, outcome: Outcome)

  /// Reads one parameter; `nil` for one that we do not know.
  init?(_ parameter: borrowing Parameter) throws(ParseError) {
    var reader = ByteReader(parameter.value)
    switch parameter.type {
    case .outgoingReset:
      let (sequence, answering) = (try reader.readUInt32(), try reader.readUInt32())
      let lastTSN = try reader.readUInt32()
      self = .outgoingReset(
        sequence: sequence, answering: answering, lastTSN: lastTSN, streams: try Self.streams(&reader))
    case .incomingReset:
      self = .incomingReset(sequence: try reader.readUInt32(), streams: try Self.streams(&reader))
    case .associationReset: self = .associationReset(sequence: try reader.readUInt32())
    case .addOutgoingStreams, .addIncomingStreams:
      let isOutgoing = parameter.type == .addOutgoingStreams
      self = .addStreams(
        sequence: try reader.readUInt32(), count: try reader.readUInt16(), isOutgoing: isOutgoing)
    case .reconfigurationResponse:
      let sequence = try reader.readUInt32()
      self = .response(
        sequence: sequence, outcome: Outcome(rawValue: try reader.readUInt32()) ?? .denied)
    default: return nil
    }
  }

  private static func streams(_ reader: inout ByteReader) throws(ParseError) -> [StreamID] {
    var streams: [StreamID] = []
    while !reader.isAtEnd { streams.append(StreamID(rawValue: try reader.readUInt16())) }
    return streams
  }

  /// The parameter on the wire, padded.
  func array() -> [UInt8] {
    switch self {
    case .outgoingReset(let sequence, let answering, let lastTSN, let streams):
      return Parameter.array(
        .outgoingReset,
        value: [UInt8](writing: 12 + 2 * streams.count) { writer in
          writer.write(sequence)
          writer.write(answering)
          writer.write(lastTSN)
          for stream in streams { writer.write(stream.rawValue) }
        })
    case .incomingReset(let sequence, let streams):
      return Parameter.array(
        .incomingReset,
        value: [UInt8](writing: 4 + 2 * streams.count) { writer in
          writer.write(sequence)
          for stream in streams { writer.write(stream.rawValue) }
        })
    case .associationReset(let sequence):
      return Parameter.array(.associationReset, value: [UInt8](writing: 4) { $0.write(sequence) })
    case .addStreams(let sequence, let count, let isOutgoing):
      return Parameter.array(
        isOutgoing ? .addOutgoingStreams : .addIncomingStreams,
        value: [UInt8](writing: 8) { writer in
          writer.write(sequence)
          writer.write(count)
          writer.write(0 as UInt16)
        })
    case .response(let sequence, let outcome):
      return Parameter.array(
        .reconfigurationResponse,
        value: [UInt8](writing: 8) { writer in
          writer.write(sequence)
          writer.write(outcome.rawValue)
        })
    }
  }
}
