// SPDX-License-Identifier: Apache-2.0

import SansIO
import SystemPackage
import Testing

@testable import KVSApplications

@Suite("A master's answers to texts")
struct TextReplyTests {
  private static func reply(_ text: String) -> String? { TextReply.text(to: Array(text.utf8)) }

  @Test("The answer tells how many bytes came, and how they began")
  func wording() {
    #expect(Self.reply("hello") == "Received 5 bytes, ECHO: hello")
    #expect(Self.reply("") == "Received 0 bytes, ECHO: ")
    #expect(Self.reply("grüße\n\u{1b}[2J") == "Received 12 bytes, ECHO: grüße\n\u{1b}[2J")
    #expect(TextReply.text(to: [0x61, 0xff]) == "Received 2 bytes, ECHO: a\u{fffd}")
  }

  @Test("At most 384 bytes come back, and no character is cut")
  func length() {
    #expect(
      Self.reply(String(repeating: "x", count: 384))?.hasSuffix(String(repeating: "x", count: 384)) == true)
    #expect(
      Self.reply(String(repeating: "x", count: 100_000))
        == "Received 100000 bytes, ECHO: " + String(repeating: "x", count: 384))
    for (character, width) in [("ü", 2), ("€", 3), ("🙂", 4)] {
      for shift in 0..<4 {
        let text = String(repeating: "x", count: shift) + String(repeating: character, count: 300)
        let echoed =
          String(repeating: "x", count: shift)
          + String(repeating: character, count: (384 - shift) / width)
        #expect(Self.reply(text) == "Received \(text.utf8.count) bytes, ECHO: \(echoed)")
      }
    }
    #expect(
      TextReply.text(to: [UInt8](repeating: 0x80, count: 1000)) != nil, "bytes that are no text do no harm")
  }

  @Test("An answer is not answered, neither ours nor those of the C programs: nobody talks without end")
  func noEcho() throws {
    let answer = try #require(Self.reply("hello"))
    #expect(Self.reply(answer) == nil)
    #expect(Self.reply("Received 100000 bytes, ECHO: " + String(repeating: "x", count: 1000)) == nil)
    #expect(Self.reply("This message is from the KVS Master") == nil)
    #expect(Self.reply("This message is from the KVS Viewer") == nil)
    for text in [
      "Received bytes, ECHO: ", "Received x bytes, ECHO: y", "received 5 bytes, ECHO: hello",
      "Received 5 bytes",
      "This message is from the KVS Master!",
    ] {
      #expect(Self.reply(text) != nil, "\(text)")
    }
  }
}

@Suite("What others send does not fill the log, T43")
struct LogBudgetTests {
  @Test("Some lines at once, then two a second, and what was left out is counted")
  func pace() {
    var budget = LogBudget()
    let start = Instant(nanoseconds: 5)
    let atOnce = (0..<100).count { _ in budget.admit(at: start) != nil }
    #expect(atOnce == LogBudget.burst)
    let next = budget.admit(at: start + LogBudget.pause)
    #expect(next == 80)
    let again = budget.admit(at: start + LogBudget.pause)
    #expect(again == nil)
    let inAMinute = (1...60_000).count {
      budget.admit(at: start + LogBudget.pause + .milliseconds(Int64($0))) != nil
    }
    #expect(inAMinute == 120)
    let rested = start + .seconds(1000)
    let later = (0..<100).count { _ in budget.admit(at: rested) != nil }
    #expect(later == LogBudget.burst)
  }
}

@Suite("Lines of standard input")
struct LineSplitterTests {
  private static func split(_ text: String, chunk: Int, limit: Int = 100) throws -> [String] {
    var splitter = LineSplitter(byteCountMax: limit)
    let bytes = Array(text.utf8)
    var lines: [[UInt8]] = []
    for start in stride(from: 0, to: bytes.count, by: chunk) {
      lines += try splitter.lines(in: bytes[start..<min(start + chunk, bytes.count)])
    }
    if let last = try splitter.lastLine() { lines.append(last) }
    return lines.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test("They are the same however the input is cut up", arguments: 1...12)
  func chunks(chunk: Int) throws {
    #expect(try Self.split("one\ntwo\r\n\nlast", chunk: chunk) == ["one", "two", "", "last"])
    #expect(try Self.split("one\n", chunk: chunk) == ["one"])
    #expect(try Self.split("", chunk: chunk).isEmpty)
    #expect(try Self.split("a\rb\n\r\n", chunk: chunk) == ["a\rb", ""])
  }

  @Test(
    "A line of the limit passes, a longer one is named, with or without an end", arguments: [1, 3, 7, 1000])
  func limit(chunk: Int) throws {
    for end in ["\n", "\r\n", ""] {
      #expect(try Self.split("x\n12345" + end, chunk: chunk, limit: 5) == ["x", "12345"])
      #expect(throws: LineSplitter.LineTooLong(line: 2, limit: 5)) {
        try Self.split("x\n123456" + end, chunk: chunk, limit: 5)
      }
    }
  }

  @Test("A line without an end does not grow without bounds")
  func bounded() {
    var splitter = LineSplitter(byteCountMax: 1000)
    var count = 0
    #expect(throws: LineSplitter.LineTooLong(line: 1, limit: 1000)) {
      while count < 100 {
        _ = try splitter.lines(in: [UInt8](repeating: 0x61, count: 100))
        count += 1
      }
    }
    #expect(count == 10)
  }
}

@Suite("Standard streams", .timeLimit(.minutes(1)))
struct StandardStreamTests {
  @Test("What is written comes out as it is, in order, and the end is the end")
  func pipe() async throws {
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let output = try StandardStream(writeEnd, name: "output")
    let input = try StandardStream(readEnd, name: "input")
    // More than a pipe holds, so that either side has to wait for the other.
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    async let isTaken = output.write(bytes)
    var read: [UInt8] = []
    while read.count < bytes.count, let chunk = try await input.read(upTo: 16_384) {
      #expect((1...16_384).contains(chunk.count))
      read += chunk
    }
    #expect(read == bytes)
    let isWhole = try await isTaken
    #expect(isWhole)
    try writeEnd.close()
    #expect(try await input.read(upTo: 10) == nil)
    try readEnd.close()
  }

  @Test("A reader that went away is told, and does not end the program")
  func brokenPipe() async throws {
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let output = try StandardStream(writeEnd, name: "output")
    try readEnd.close()
    #expect(try await !output.write([1, 2, 3]))
    try writeEnd.close()
  }

  @Test("Whoever waits for input or room is let go when the task is cancelled")
  func cancellation() async throws {
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let input = try StandardStream(readEnd, name: "input")
    let reading = Task { try await input.read(upTo: 10) }
    reading.cancel()
    await #expect(throws: CancellationError.self) { try await reading.value }
    let output = try StandardStream(writeEnd, name: "output")
    let writing = Task { try await output.write([UInt8](repeating: 0, count: 10_000_000)) }
    writing.cancel()
    await #expect(throws: CancellationError.self) { try await writing.value }
    try readEnd.close()
    try writeEnd.close()
  }

  @Test("A file is read as a pipe is, and one that is not there is one sentence")
  func files() async throws {
    try await TemporaryFolder.use { folder in
      let path = FilePath(folder.path("input"))
      let file = try FileDescriptor.open(
        path, .readWrite, options: [.create], permissions: [.ownerReadWrite])
      let output = try StandardStream(file, name: "output")
      #expect(try await output.write([1, 2, 3]))
      try file.seek(offset: 0, from: .start)
      let input = try StandardStream(file, name: "input")
      #expect(try await input.read(upTo: 10) == [1, 2, 3])
      #expect(try await input.read(upTo: 10) == nil)
      try file.close()
    }
    let none = try StandardStream(FileDescriptor(rawValue: 1_000_000), name: "standard input")
    let error = await #expect(throws: StandardStreamError.self) { try await none.read(upTo: 10) }
    #expect(error?.description.hasPrefix("standard input failed: ") == true)
    #expect(error.map { ExitError($0).code } == 74)
  }
}
