// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Cuts H.264 access units into RTP payloads (RFC 6184, packetization mode 1).
///
/// Neighbouring small units share a packet (STAP-A, §5.7.1: parameter sets above all), a unit that fits travels
/// alone (§5.6), a larger one is cut into parts of equal size (FU-A, §5.8), so that segmentation offload takes
/// a frame in one call. Access unit delimiters and filler data are dropped: they tell a receiver nothing.
public struct H264Packetizer: Sendable {
  /// Bytes that a payload has at most.
  public let maximumPayloadByteCount: Int

  /// The least that makes sense for ``maximumPayloadByteCount``, in bytes.
  public static let smallestPayloadByteCount = 16

  /// Makes a packetizer.
  ///
  /// - Parameter maximumPayloadByteCount: room in a packet after the longest header of any viewer; from 16
  ///   to 65,535 bytes.
  public init(maximumPayloadByteCount: Int) {
    precondition(
      (Self.smallestPayloadByteCount...65_535).contains(maximumPayloadByteCount), "unusable payload size")
    self.maximumPayloadByteCount = maximumPayloadByteCount
  }

  /// Cuts one access unit.
  ///
  /// - Parameters:
  ///   - accessUnit: NAL units behind start codes of three or four bytes.
  ///   - timestamp: time since the stream began in units of 1/90,000 s.
  ///   - captureTime: when the picture was taken.
  /// - Returns: the packets, or `nil` where the access unit holds nothing to send.
  public func packetize(
    annexB accessUnit: [UInt8], timestamp: UInt32, captureTime: Instant
  ) -> PacketizedFrame? {
    let units = AnnexB.nalUnits(in: accessUnit.rawSpan).filter { Self.isSent(accessUnit[$0.lowerBound]) }
    guard !units.isEmpty else { return nil }
    var output = Output(capacity: accessUnit.count + accessUnit.count / 16 + 64)
    var index = 0
    while index < units.count {
      let aggregated = aggregateCount(units[index...])
      if aggregated > 1 {
        writeAggregate(units[index..<(index + aggregated)], of: accessUnit, to: &output)
      } else if units[index].count <= maximumPayloadByteCount {
        output.bytes += accessUnit[units[index]]
        output.endPacket()
      } else {
        writeFragments(units[index], of: accessUnit, to: &output)
      }
      index += aggregated
    }
    let isKeyFrame = units.contains { H264NALUnitType(header: accessUnit[$0.lowerBound]) == .idrSlice }
    return PacketizedFrame(
      bytes: output.bytes, packets: output.packets, timestamp: timestamp, isKeyFrame: isKeyFrame,
      captureTime: captureTime)
  }

  private struct Output {
    var bytes: [UInt8] = []
    var packets: [Range<Int>] = []

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    mutating func endPacket() { packets.append((packets.last?.upperBound ?? 0)..<bytes.count) }
  }

  private static func isSent(_ header: UInt8) -> Bool {
    let type = H264NALUnitType(header: header)
    return type.isCodedUnit && type != .accessUnitDelimiter && type != .fillerData
  }

  /// How many units from the first on share one packet; 1 means that the first travels alone.
  private func aggregateCount(_ units: ArraySlice<Range<Int>>) -> Int {
    var byteCount = 1
    var count = 0
    for unit in units {
      byteCount += 2 + unit.count
      guard byteCount <= maximumPayloadByteCount else { break }
      count += 1
    }
    return max(count, 1)
  }

  /// RFC 6184 §5.7.1: the header has the highest importance of its units, and F if any has it.
  private func writeAggregate(
    _ units: ArraySlice<Range<Int>>, of accessUnit: [UInt8], to output: inout Output
  ) {
    var importance: UInt8 = 0
    var forbidden: UInt8 = 0
    for unit in units {
      importance = max(importance, accessUnit[unit.lowerBound] & 0x60)
      forbidden |= accessUnit[unit.lowerBound] & 0x80
    }
    output.bytes.append(forbidden | importance | H264NALUnitType.stapA.rawValue)
    for unit in units {
      output.bytes.append(UInt8(truncatingIfNeeded: unit.count >> 8))
      output.bytes.append(UInt8(truncatingIfNeeded: unit.count))
      output.bytes += accessUnit[unit]
    }
    output.endPacket()
  }

  /// RFC 6184 §5.8: all parts have the same size but the last, which may be shorter.
  private func writeFragments(_ unit: Range<Int>, of accessUnit: [UInt8], to output: inout Output) {
    let header = accessUnit[unit.lowerBound]
    let indicator = header & 0xe0 | H264NALUnitType.fuA.rawValue
    let type = header & 0x1f
    let body = (unit.lowerBound + 1)..<unit.upperBound
    let room = maximumPayloadByteCount - 2
    let partCount = (body.count + room - 1) / room
    let partByteCount = (body.count + partCount - 1) / partCount
    var start = body.lowerBound
    while start < body.upperBound {
      let end = min(start + partByteCount, body.upperBound)
      let startBit: UInt8 = start == body.lowerBound ? 0x80 : 0
      let endBit: UInt8 = end == body.upperBound ? 0x40 : 0
      output.bytes.append(indicator)
      output.bytes.append(startBit | endBit | type)
      output.bytes += accessUnit[start..<end]
      output.endPacket()
      start = end
    }
  }
}
