// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@Suite("Byte cursors")
struct BytesTests {
  @Test("What a writer wrote, a reader reads back")
  func roundTrip() throws {
    let bytes = [UInt8](writing: 64) { writer in
      writer.write(0x01 as UInt8)
      writer.write(0x0203 as UInt16)
      writer.writeUInt24(0x04_0506)
      writer.write(0x0708_090a as UInt32)
      writer.write(0x0b0c_0d0e_0f10_1112 as UInt64)
      writer.write([0x13, 0x14])
      writer.write("\u{15}")
      writer.writeZeros(2)
      writer.patch(0xfffe as UInt16, at: 1)
    }
    #expect(bytes == [1, 0xff, 0xfe] + (4...0x15).map { UInt8($0) } + [0, 0])
    var reader = ByteReader(bytes.rawSpan)
    #expect(try reader.readUInt8() == 1)
    #expect(try reader.readUInt16() == 0xfffe)
    #expect(try reader.readUInt24() == 0x04_0506)
    #expect(try reader.readUInt32() == 0x0708_090a)
    #expect(try reader.readUInt64() == 0x0b0c_0d0e_0f10_1112)
    #expect(try reader.readArray(2) == [0x13, 0x14])
    try reader.skip(1)
    let rest = reader.readRest().byteCount
    #expect(rest == 2)
    let isAtEnd = reader.isAtEnd
    #expect(isAtEnd)
  }

  @Test("Every read past the end throws and leaves the cursor", arguments: 0..<8)
  func truncation(byteCount: Int) {
    let bytes = [UInt8](repeating: 7, count: byteCount)
    var reader = ByteReader(bytes.rawSpan)
    #expect(throws: ParseError.truncated) { try reader.readUInt64() }
    #expect(throws: ParseError.truncated) { try reader.readArray(byteCount + 1) }
    #expect(throws: ParseError.truncated) { try reader.skip(-1) }
    if byteCount < 4 { #expect(throws: ParseError.truncated) { try reader.readUInt32() } }
    if byteCount < 3 { #expect(throws: ParseError.truncated) { try reader.readUInt24() } }
    if byteCount < 2 { #expect(throws: ParseError.truncated) { try reader.readUInt16() } }
    let offset = reader.offset
    #expect(offset == 0)
  }

  @Test("Writing past the lent memory is a trap, not a silent loss")
  func overflow() async {
    await #expect(processExitsWith: .failure) {
      _ = [UInt8](writing: 3) { writer in writer.write(1 as UInt32) }
    }
  }

  @Test("Digests compare equal only when all bytes are")
  func constantTimeComparison() {
    let digest: [UInt8] = [1, 2, 3, 4]
    func isEqual(_ other: [UInt8]) -> Bool { digest.rawSpan.isEqualInConstantTime(to: other.rawSpan) }
    for index in digest.indices {
      var other = digest
      other[index] ^= 0x80
      #expect(!isEqual(other))
    }
    #expect(isEqual([1, 2, 3, 4]))
    #expect(!isEqual([1, 2, 3]))
  }

  @Test("Words are read least significant byte first, bytes appended, and four bytes patched")
  func wordsAndPatches() {
    var bytes: [UInt8] = [0]
    let more: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    bytes.append(copying: more.rawSpan)
    let word = bytes.rawSpan.littleEndianWord(at: 1)
    #expect(word == 0x0807_0605_0403_0201)
    let patched = [UInt8](writing: 6) { writer in
      writer.writeZeros(6)
      writer.patch(0x0102_0304 as UInt32, at: 1)
    }
    #expect(patched == [0, 1, 2, 3, 4, 0])
  }
}
