// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A header extension ready to be sent: elements in the one-byte or two-byte form of RFC 8285 §4.2 and §4.3.
///
/// It is serialised once for a stream (its media identification, say) and copied into each packet.
public struct RTPHeaderExtensions: Hashable, Sendable {
  /// The extension from its profile word to its padding, a multiple of four bytes; empty for no extension.
  public let bytes: [UInt8]

  /// No extension: packets are sent without the X bit.
  public static let none = RTPHeaderExtensions(bytes: [])

  /// The profile of the one-byte form.
  public static let oneByteProfile: UInt16 = 0xbede
  /// The profile of the two-byte form; its low four bits are the application's.
  public static let twoByteProfile: UInt16 = 0x1000
  /// Bytes that the elements may take together; more would leave no room for a payload.
  public static let elementsByteCountMax = 256

  /// An element to be sent.
  public struct Element: Hashable, Sendable {
    /// The number that negotiation gave to the element's URI, 1 to 255 but not 15.
    public let id: UInt8
    /// The value, at most 255 bytes.
    public let value: [UInt8]

    /// Makes an element.
    public init(id: UInt8, value: [UInt8]) {
      self.id = id
      self.value = value
    }

    /// Makes an element from a text, such as a media identification.
    public init(id: UInt8, text: String) { self.init(id: id, value: Array(text.utf8)) }
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  /// Serialises the elements, in the one-byte form where all of them fit it: numbers to 14, 1 to 16 bytes.
  ///
  /// Elements with a number or length outside of both forms are a mistake of ours and trap.
  public init(_ elements: [Element]) {
    guard !elements.isEmpty else {
      self = .none
      return
    }
    precondition(
      elements.allSatisfy { $0.id != 0 && $0.id != 15 && $0.value.count <= 255 }, "unusable element")
    let fitsOneByte = elements.allSatisfy { $0.id <= 14 && (1...16).contains($0.value.count) }
    var body: [UInt8] = []
    for element in elements {
      if fitsOneByte {
        body.append(element.id << 4 | UInt8(element.value.count - 1))
      } else {
        body += [element.id, UInt8(element.value.count)]
      }
      body += element.value
    }
    while body.count % 4 != 0 { body.append(0) }
    precondition(body.count <= Self.elementsByteCountMax, "too many extension elements")
    let profile = fitsOneByte ? Self.oneByteProfile : Self.twoByteProfile
    bytes =
      [UInt8(profile >> 8), UInt8(truncatingIfNeeded: profile), 0, UInt8(truncatingIfNeeded: body.count / 4)]
      + body
  }
}

/// The elements of a received header extension, one after the other (RFC 8285 §4).
///
/// An unknown profile has no elements; an element that runs past the extension ends the iteration.
public struct RTPHeaderExtensionElements: ~Escapable {
  private let packet: RawSpan
  private let isOneByte: Bool
  private let end: Int
  private var position: Int

  /// Starts at the first element.
  ///
  /// - Parameters:
  ///   - profile: The first 16 bits of the extension.
  ///   - range: Where the elements lie in the packet; a range outside of it is cut.
  ///   - packet: The whole packet.
  @_lifetime(copy packet)
  public init(profile: UInt16, range: Range<Int>, packet: RawSpan) {
    self.packet = packet
    isOneByte = profile == RTPHeaderExtensions.oneByteProfile
    let isTwoByte = profile & 0xfff0 == RTPHeaderExtensions.twoByteProfile
    position = range.lowerBound
    end = isOneByte || isTwoByte ? min(range.upperBound, packet.byteCount) : range.lowerBound
  }

  /// The next element's number and where its value lies in the packet; `nil` at the end.
  @_lifetime(self: copy self)
  public mutating func next() -> (id: UInt8, value: Range<Int>)? {
    while position < end, let first = packet.byte(at: position) {
      let (id, count): (UInt8, Int)
      if isOneByte {
        if first >> 4 == 0 {
          position += 1
          continue
        }
        (id, count) = (first >> 4, Int(first & 0x0f) + 1)
        position += 1
        // RFC 8285 §4.2: 15 is reserved and ends the extension.
        guard id != 15 else { break }
      } else {
        if first == 0 {
          position += 1
          continue
        }
        guard position + 1 < end, let length = packet.byte(at: position + 1) else { break }
        (id, count) = (first, Int(length))
        position += 2
      }
      guard position + count <= end else { break }
      defer { position += count }
      return (id, position..<(position + count))
    }
    position = end
    return nil
  }
}
