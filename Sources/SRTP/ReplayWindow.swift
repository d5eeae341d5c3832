// SPDX-License-Identifier: Apache-2.0

/// Remembers which of the last ``SRTPLimits/replayWindowPackets`` indexes of a stream were accepted (RFC 3711 §3.3.2).
struct ReplayWindow: Sendable {
  /// The highest accepted index, -1 before the first.
  private(set) var highest: Int64 = -1
  /// One bit for each index of the window, at the index modulo the window's size.
  private var seen = InlineArray<16, UInt64>(repeating: 0)

  private static let size = Int64(SRTPLimits.replayWindowPackets)

  /// Throws ``SRTPError/replayed`` or ``SRTPError/tooOld`` for an index that must not be accepted.
  func check(_ index: Int64) throws(SRTPError) {
    guard index <= highest else { return }
    guard index > highest - Self.size, index >= 0 else { throw .tooOld }
    let (word, bit) = Self.place(index)
    guard seen[word] & bit == 0 else { throw .replayed }
  }

  /// Remembers an index that passed ``check(_:)``, once its packet was authenticated.
  mutating func accept(_ index: Int64) {
    if index > highest {
      if index - highest >= Self.size {
        seen = InlineArray(repeating: 0)
      } else {
        for skipped in (highest + 1)...index {
          let (word, bit) = Self.place(skipped)
          seen[word] &= ~bit
        }
      }
      highest = index
    }
    let (word, bit) = Self.place(index)
    seen[word] |= bit
  }

  private static func place(_ index: Int64) -> (word: Int, bit: UInt64) {
    let place = Int(index & (size - 1))
    return (place >> 6, 1 << UInt64(place & 63))
  }
}

/// The inbound streams of one direction, by SSRC: at most ``SRTPLimits/streamsMax``, made by authenticated packets.
struct ReplayTable: Sendable {
  private struct Stream: Sendable {
    let ssrc: UInt32
    var window = ReplayWindow()
  }

  private var streams: [Stream] = []

  /// How many streams there are.
  var count: Int { streams.count }

  /// The stream's place; `nil` for one that is not known yet. Throws when there is no room for it.
  func place(of ssrc: UInt32) throws(SRTPError) -> Int? {
    for place in streams.indices where streams[place].ssrc == ssrc { return place }
    guard streams.count < SRTPLimits.streamsMax else { throw .tooManyStreams }
    return nil
  }

  /// The highest accepted index at a place.
  func highest(at place: Int?) -> Int64? {
    guard let place else { return nil }
    return streams[place].window.highest
  }

  func check(_ index: Int64, at place: Int?) throws(SRTPError) {
    guard let place else { return }
    try streams[place].window.check(index)
  }

  /// Remembers an authenticated packet, and its stream if that is new.
  mutating func accept(_ index: Int64, ssrc: UInt32, at place: Int?) {
    if let place {
      streams[place].window.accept(index)
    } else {
      var stream = Stream(ssrc: ssrc)
      stream.window.accept(index)
      streams.append(stream)
    }
  }
}
