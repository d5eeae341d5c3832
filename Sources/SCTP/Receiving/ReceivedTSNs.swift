// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// Which chunks arrived: all up to a cumulative TSN, and ranges above it (RFC 9260 §6.2).
struct ReceivedTSNs {
  /// A closed range of TSNs above the cumulative one.
  struct Range: Equatable {
    var first: Int64
    var last: Int64
  }

  /// What an arriving chunk is.
  enum Novelty {
    case new
    case duplicate
    /// Too far ahead, or one hole too many: treated as lost.
    case refused
  }

  /// All up to this TSN arrived or were given up by the sender.
  private(set) var cumulative: Int64
  /// Ascending, never touching one another nor the cumulative TSN.
  private(set) var ranges: [Range] = []
  /// TSNs that came again, for the next SACK.
  private(set) var duplicates: [UInt32] = []

  /// Expects `initial` first. It is raised by 2^32, so that no extended TSN is ever negative.
  init(initial: UInt32) { cumulative = Int64(initial) + (1 << 32) - 1 }

  var hasGaps: Bool { !ranges.isEmpty }
  /// The highest TSN that arrived.
  var highest: Int64 { ranges.last?.last ?? cumulative }

  func extend(_ tsn: UInt32) -> Int64 { SerialNumber.extend(tsn, near: cumulative) }

  /// Judges a TSN without noting it.
  func novelty(of tsn: Int64) -> Novelty {
    if tsn == cumulative &+ 1, ranges.isEmpty { return .new }
    guard tsn > cumulative else { return .duplicate }
    guard tsn - cumulative <= SCTPLimits.tsnAheadMax else { return .refused }
    guard tsn != cumulative + 1 else { return .new }
    let index = firstRange(endingAtOrAfter: tsn)
    if index < ranges.count, ranges[index].first <= tsn { return .duplicate }
    if ranges.count < SCTPLimits.gapRangesMax { return .new }
    let touchesNext = index < ranges.count && ranges[index].first == tsn + 1
    let touchesPrevious = index > 0 && ranges[index - 1].last == tsn - 1
    return touchesNext || touchesPrevious ? .new : .refused
  }

  /// Notes a chunk whose TSN ``novelty(of:)`` called new.
  mutating func insert(_ tsn: Int64) {
    if tsn == cumulative &+ 1 {
      cumulative = tsn
      absorb()
      return
    }
    let index = firstRange(endingAtOrAfter: tsn)
    let touchesNext = index < ranges.count && ranges[index].first == tsn + 1
    if index > 0, ranges[index - 1].last == tsn - 1 {
      ranges[index - 1].last = touchesNext ? ranges.remove(at: index).last : tsn
    } else if touchesNext {
      ranges[index].first = tsn
    } else {
      ranges.insert(Range(first: tsn, last: tsn), at: index)
    }
  }

  /// Notes that a chunk came again.
  mutating func noteDuplicate(_ tsn: Int64) {
    guard duplicates.count < SCTPLimits.duplicatesMax else { return }
    duplicates.append(UInt32(truncatingIfNeeded: tsn))
  }

  /// The sender gave up everything to `tsn` (RFC 3758 §3.6).
  mutating func advance(to tsn: Int64) {
    guard tsn > cumulative else { return }
    cumulative = tsn
    ranges.removeAll { $0.last <= tsn }
    if let first = ranges.first, first.first <= tsn + 1 { absorb() }
  }

  private mutating func absorb() {
    guard let first = ranges.first, first.first <= cumulative + 1 else { return }
    cumulative = first.last
    ranges.removeFirst()
  }

  private func firstRange(endingAtOrAfter tsn: Int64) -> Int {
    if let last = ranges.last, last.last < tsn { return ranges.count }
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].last < tsn { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Writes a SACK chunk into at most `capacity` bytes, which hold ``SackChunk/byteCountMin``; the peer hears
  /// of each duplicate once.
  mutating func writeSack(window: UInt32, capacity: Int, into writer: inout ByteWriter) {
    let gapCount = min(ranges.count, (capacity - SackChunk.byteCountMin) / 4)
    let duplicateCount = min(duplicates.count, (capacity - SackChunk.byteCountMin) / 4 - gapCount)
    Chunk.writeHeader(.sack, valueByteCount: 12 + 4 * (gapCount + duplicateCount), into: &writer)
    writer.write(UInt32(truncatingIfNeeded: cumulative))
    writer.write(window)
    writer.write(UInt16(gapCount))
    writer.write(UInt16(duplicateCount))
    for range in ranges.prefix(gapCount) {
      writer.write(UInt16(truncatingIfNeeded: range.first - cumulative))
      writer.write(UInt16(truncatingIfNeeded: range.last - cumulative))
    }
    for duplicate in duplicates.prefix(duplicateCount) { writer.write(duplicate) }
    duplicates.removeAll(keepingCapacity: true)
  }
}
